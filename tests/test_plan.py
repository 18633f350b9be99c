"""How often the whole picture comes beside its views."""

from PIL import Image

from distill.image.cuts import cuts_of
from distill.options import PictureOptions, TrainOptions
from distill.plan import Plan, Shot, View

VIEWS = (View(name="face", box=(0.2, 0.1, 0.8, 0.7)), View(name="bangs", box=(0.3, 0.1, 0.7, 0.4), repeats=2))


def repeats(plan, options):
    made = cuts_of(Image.new("RGB", (64, 64)), plan.counted(options), PictureOptions(), 64)
    return [cut.repeats for cut in made]


def test_it_is_half_of_an_epoch_that_all_share():
    assert repeats(Plan(views=VIEWS), TrainOptions()) == [3, 1, 2]


def test_it_is_one_of_them_where_each_is_counted_as_kohya_does():
    assert repeats(Plan(views=VIEWS), TrainOptions(repeats_of="picture")) == [1, 1, 2]


def test_what_the_person_says_is_kept():
    further = Shot(source=b"", plan=Plan(views=VIEWS))
    plan = Plan(views=VIEWS, repeats=5, more=(further,)).counted(TrainOptions(repeats_of="picture"))
    assert (plan.repeats, plan.more[0].plan.repeats) == (5, 1)
    assert plan.counted(TrainOptions()) is plan
