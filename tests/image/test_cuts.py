"""One picture and its plan become the cuts that are trained, and how many is known before."""

from __future__ import annotations

import pytest
from PIL import Image

from distill.image.cuts import cuts_of, expected, native
from distill.options import PictureOptions
from distill.plan import WHOLE, Plan, Shot, View

OPTIONS = PictureOptions()
FACE = View(name="face", box=(0.25, 0.0, 0.75, 0.5), words=("close-up",))
LOWER = View(name="lower body", box=(0.0, 0.5, 1.0, 1.0), words=("lower body",), repeats=3)
AS_WHOLE = View(name="upper body", box=WHOLE, words=("upper body",), repeats=0)


@pytest.fixture
def picture() -> Image.Image:
    return Image.radial_gradient("L").resize((400, 400)).convert("RGB")


def repeats(picture: Image.Image, plan: Plan) -> list[int]:
    return [cut.repeats for cut in cuts_of(picture, plan, OPTIONS, 64)]


def test_half_of_the_draws_see_the_whole(picture: Image.Image) -> None:
    assert repeats(picture, Plan(views=(FACE, LOWER))) == [4, 1, 3]
    assert repeats(picture, Plan(views=(FACE,), repeats=7)) == [7, 1]
    assert repeats(picture, Plan(views=())) == [1]


def test_a_view_of_the_whole_only_lends_it_its_words(picture: Image.Image) -> None:
    whole, face = cuts_of(picture, Plan(views=(AS_WHOLE, FACE)), OPTIONS, 64)
    assert (whole.words, whole.repeats, face.words) == (("upper body",), 1, ("close-up",))
    own = View(name="mine", box=WHOLE, tags=("other words",))
    assert [cut.name for cut in cuts_of(picture, Plan(views=(own,)), OPTIONS, 64)] == ["", "mine"]


def test_a_cut_is_the_pixels_of_its_box(picture: Image.Image) -> None:
    face = cuts_of(picture, Plan(views=(FACE,)), OPTIONS, 200)[1]
    assert native(picture, FACE.box).size == (200, 200)
    assert face.image.tobytes() == picture.crop((100, 0, 300, 200)).tobytes()


def test_what_has_too_few_pixels_is_enlarged(picture: Image.Image) -> None:
    asked: list[tuple[tuple[int, int], float]] = []

    def enlarge(image: Image.Image, scale: float) -> Image.Image:
        asked.append((image.size, scale))
        return Image.new("RGB", (image.width * 4, image.height * 4), "red")

    whole, face = cuts_of(picture, Plan(views=(FACE,)), OPTIONS, 384, enlarge)
    assert asked == [((200, 200), 1.92)]  # the whole has enough
    assert face.image.size == whole.image.size == (384, 384)
    assert face.image.getpixel((9, 9)) == (255, 0, 0)


def test_how_many_are_expected() -> None:
    assert expected(Plan(), OPTIONS) == 1
    assert expected(Plan(views=(FACE, LOWER, AS_WHOLE)), OPTIONS) == 8
    assert expected(Plan(more=(Shot(source=b"", plan=Plan(repeats=3)),)), OPTIONS) == 4
    assert expected(Plan(), PictureOptions(views="face")) is None
    assert expected(Plan(views=()), PictureOptions(views="face")) == 1
