"""What a job costs: measured, then told."""

import pytest
from PIL import Image

from distill.events import Captioned, Prepared, Sampled
from distill.image.cuts import Cut
from distill.image.loading import Picture
from distill.jobs.costs import Pace, keep, read, sampling_steps, sentence, setting_of, spoken
from distill.options import Options
from distill.training.loop import Step

PICTURE = Image.new("RGB", (8, 8))


def options(**changes):
    return Options.from_flat({"repeats": 10, "epochs": 3, "batch_size": 1, "sample_steps": 20, **changes})


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def run(pace, clock, *, steps, step_s, picture_s, encode_s=3.0):
    """Tell `pace` of a job, with a picture after every tenth step."""
    clock.now += encode_s
    pace.note(Captioned(("a",), "a"))
    for index in range(1, steps + 1):
        clock.now += step_s + (encode_s if index == 1 else 0)
        pace.note(Step(index, 30, 1.0, 0.1))
        if index % 10 == 0:
            clock.now += picture_s * (2 if index == 30 else 1)
            pace.note(Sampled(PICTURE, "a", index))


def test_the_end_is_told_from_steps_and_pictures():
    clock = Clock()
    pace = Pace(options(), clock)
    assert pace.eta_s is None
    run(pace, clock, steps=10, step_s=2.0, picture_s=5.0)
    # 20 steps, one quick picture and the card's, which has twice the sampling steps
    assert pace.eta_s == pytest.approx(20 * 2 + 5 + 10)


def test_one_slow_step_does_not_spoil_it():
    clock = Clock()
    pace = Pace(options(sample_every=0, preview=False), clock)
    run(pace, clock, steps=9, step_s=2.0, picture_s=0.0)
    clock.now += 500
    pace.note(Step(10, 30, 1.0, 0.1))
    assert pace.eta_s == pytest.approx(40)


def test_steps_that_ask_a_teacher_count_as_they_come():
    taught = {"teacher_blank": 1.0, "teacher_every": 4, "sample_every": 0, "preview": False}
    clock = Clock()
    pace = Pace(options(**taught), clock)
    pace.note(Captioned(("a",), "a"))
    for index in range(1, 18):
        clock.now += 3.0 if index % 4 == 0 else 1.0
        pace.note(Step(index, 30, 1.0, 0.1))
    assert pace.eta_s == pytest.approx(13 * 24 / 16)  # the first step does not count
    assert setting_of(options(**taught), "a", 512) != setting_of(options(teacher_blank=1.0), "a", 512)
    assert setting_of(options(teacher_every=4), "a", 512) == setting_of(options(), "a", 512)


def test_pictures_still_to_come():
    assert sampling_steps(options()) == 10 + 10 + 20
    assert sampling_steps(options(), after_step=10) == 10 + 20
    assert sampling_steps(options(sample_every=2)) == 10 + 20
    assert sampling_steps(options(sample_every=0, preview=False)) == 0


def test_what_was_measured_is_what_is_told(tmp_path):
    clock, wanted = Clock(), options()
    pace = Pace(wanted, clock)
    run(pace, clock, steps=30, step_s=2.0, picture_s=5.0)
    setting = setting_of(wanted, "some", 512)
    keep(tmp_path, pace.cost(setting))
    known = read(tmp_path)
    assert clock.now == pytest.approx(86)
    assert sentence(wanted, setting, known) == "30 steps at 512 px: about 1 min 25 s, as measured last time here."
    twice = options(epochs=6)
    assert sentence(twice, setting_of(twice, "some", 512), known).startswith("60 steps at 512 px: about 2 min 40 s")
    other = setting_of(wanted, "other", 512)
    assert "not measured yet" in sentence(wanted, other, known)
    keep(tmp_path, pace.cost(setting))
    assert len(read(tmp_path)) == 1  # a newer one takes the older one's place


def test_views_and_further_pictures_make_more_steps_where_they_are_repeated(tmp_path):
    wanted = options(repeats_of="picture", batch_size=2)
    setting = setting_of(wanted, "some", 512)
    assert sentence(wanted, setting, []).startswith("15 steps at 512 px: how long")
    assert sentence(wanted, setting, [], 4).startswith("60 steps at 512 px")
    assert sentence(wanted, setting, [], None).startswith("15 steps for each picture and view at 512 px")
    assert sentence(options(), setting, [], None).startswith("30 steps at 512 px")  # shared among them


def test_the_end_is_that_of_all_pictures():
    clock = Clock()
    pace = Pace(options(repeats_of="picture", batch_size=1, sample_every=0, preview=False), clock)
    whole = Picture(PICTURE, (), "")
    pace.note(Prepared(whole, PICTURE, (), (Cut("", PICTURE, 2), Cut("face", PICTURE), Cut("bangs", PICTURE))))
    run(pace, clock, steps=2, step_s=2.0, picture_s=0.0)
    assert pace.eta_s == pytest.approx(28 * 2)  # Step's own total is the last word
    pace = Pace(options(repeats_of="picture", batch_size=1), clock)
    pace.note(Prepared(whole, PICTURE, (), (Cut("", PICTURE, 2), Cut("face", PICTURE, 2))))
    assert pace._total == 120


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (98, "1 min 40 s"),
        (599, "10 min"),
        (4000, "1 h 6 min"),
        (7200, "2 h"),
    ],
)
def test_durations_for_people(seconds, said):
    assert spoken(seconds) == said
