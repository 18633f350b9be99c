"""The loss as a picture that a browser can draw."""

from xml.etree import ElementTree

import pytest

from distill.ui.loss_line import HEIGHT, MARGIN, POINTS, WIDTH, binned, smoothed, svg


def points(losses, total, kind="raw", **more):
    figure = ElementTree.fromstring(svg(losses, total, **more))
    line = figure.find(f".//polyline[@class='distill-loss-{kind}']")
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def test_no_loss_no_line():
    assert svg([], 10) == ""


def test_it_grows_with_the_steps():
    assert points([1.0, 0.5], 4)[-1][0] == pytest.approx(MARGIN + (WIDTH - 2 * MARGIN) / 2)
    assert points([1.0] * 4, 4)[-1][0] == pytest.approx(WIDTH - MARGIN)


def test_lower_loss_is_drawn_lower():
    (_, high), (_, low) = points([1.0, 0.1], 2)
    assert low > high


def test_it_stays_in_its_frame_with_a_spike():
    course = points([0.1] * 60 + [50.0] + [0.2] * 60, 121)
    assert all(0 <= y <= HEIGHT for _, y in course)
    assert max(y for _, y in course) - min(y for _, y in course[:30] + course[-30:]) > 10  # the rest is not flattened


def test_one_step_and_a_constant_loss_can_be_drawn():
    assert len(points([0.3], 1)) == 1
    assert {y for _, y in points([0.3] * 5, 5)} == {HEIGHT / 2}


def test_a_long_run_is_drawn_with_few_points():
    assert len(points([i / 1e4 for i in range(10_000)], 10_000)) == POINTS


def test_shares_keep_the_mean():
    values = [float(i) for i in range(1000)]
    assert sum(binned(values, 10)) / 10 == pytest.approx(sum(values) / 1000)


def test_smoothing_starts_at_the_first_value_and_follows():
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([1.0] + [0.0] * 50)[-1] < 0.01


def test_epochs_are_marked():
    assert svg([1.0] * 4, 4, epochs_at=[2, 4]).count("distill-loss-epoch") == 2
