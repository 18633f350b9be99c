"""What is picked of readings, and when more brings nothing."""

import pytest

from distill.training import picker
from distill.training.meters import Reading

RISING = [Reading(fit, bleed, 0.0, 1.0) for fit, bleed in ((0.2, 0.02), (0.4, 0.05), (0.5, 0.3), (0.55, 0.7))]


def test_who_wants_more_likeness_gets_a_later_epoch():
    assert picker.picks(RISING) == {"flexible": 1, "balanced": 2, "faithful": 3}


def test_nothing_to_pick_from():
    assert picker.picks([]) == {}


def test_of_two_alike_the_earlier_one():
    assert picker.pick([RISING[0], RISING[2], RISING[2]], "balanced") == 1


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        (RISING[:1], picker.LEARNING),
        (RISING[:2], picker.LEARNING),
        ([*RISING[:3], RISING[2]], picker.GOOD),
        (RISING, picker.OVERFITTING),
    ],
)
def test_how_it_stands(readings, said):
    assert picker.verdict(readings) == said


def test_more_brings_nothing_after_two_without_a_gain():
    assert not picker.gains_nothing(RISING[:3])
    assert not picker.gains_nothing([*RISING[:3], RISING[2]])
    assert picker.gains_nothing([*RISING[:3], RISING[2], RISING[3]])


@pytest.mark.parametrize(
    "worse", [Reading(0.5, 0.4, 0.0, 1.0), Reading(0.5, 0.3, 0.2, 1.0), Reading(0.5, 0.3, 0.0, 0.8)]
)
def test_each_harm_counts_and_a_leak_below_nothing_does_not(worse):
    assert picker.worth(worse, "balanced") < picker.worth(RISING[2], "balanced")
    assert picker.worth(worse, "faithful") == picker.worth(RISING[2], "faithful")
    assert picker.harm(Reading(0.5, 0.3, -0.2, 1.0)) == picker.harm(RISING[2])
