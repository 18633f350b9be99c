"""Views are where the body is, have enough pixels, and say what was left out and why."""

from __future__ import annotations

import pytest
from PIL import Image

from distill.errors import OptionError, PictureError
from distill.image import detector, views
from distill.options import PictureOptions
from distill.plan import WHOLE, View

FACE = detector.Face((0.35, 0.13, 0.53, 0.31), "a test")


def options(names: str, **more: object) -> PictureOptions:
    return PictureOptions(views=names, view_min_px=64, **more)  # type: ignore[arg-type]


def seen(monkeypatch: pytest.MonkeyPatch, face: detector.Face | None) -> None:
    monkeypatch.setattr(detector, "find_face", lambda image: (face, "" if face else "nobody looked"))


def test_none_are_proposed_unless_asked_for() -> None:
    assert views.proposed(Image.new("RGB", (512, 512)), PictureOptions()) == ((), ())


def test_names() -> None:
    assert views.names_of(" Upper_Body, face,face,") == ("upper body", "face")
    assert views.names_of("face, all") == tuple(views.SPANS)
    with pytest.raises(OptionError, match=r"no view 'feet'.*cowboy shot"):
        views.names_of("face, feet")


def test_a_face_places_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, FACE)
    found, notes = views.proposed(Image.new("RGB", (1000, 1000)), options("all"))
    boxes = {view.name: view.box for view in found}
    assert notes[0] == "Views by the face that a test found."
    assert "View full body is left out: the picture ends 3.8 heads below the crown, it needs 7.2." in notes
    left, upper, right, lower = boxes["face"]
    assert (left, upper, right, lower) == pytest.approx((0.2517, 0, 0.6283, 0.3708), abs=0.01)
    assert boxes["head out of frame"][1] > FACE.box[3]  # below the chin
    assert boxes["upper body"][3] < 0.9
    assert all(0 <= edge <= 1 for box in boxes.values() for edge in box)
    assert dict((view.name, view.words) for view in found)["face"] == ("close-up", "face")


def test_a_view_that_is_the_whole_picture_lends_it_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, detector.Face((0.38, 0.1, 0.62, 0.34), "a test"))
    (view,), notes = views.proposed(Image.new("RGB", (800, 800)), options("upper body"))
    assert view == View(name="upper body", box=WHOLE, words=("upper body",), repeats=0)
    assert "nearly the whole picture" in notes[1]


def test_without_a_face_the_shape_decides_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, None)
    tall, notes = views.proposed(Image.new("RGB", (600, 1200)), options("upper body, face, lower body", crop="aspect"))
    assert notes[0].startswith("Views by proportion, as nobody looked")
    assert [view.name for view in tall] == ["upper body", "face", "lower body"]
    assert tall[0].box[3] < 0.5 < tall[2].box[3]


def test_too_few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, FACE)
    found, notes = views.proposed(Image.new("RGB", (512, 512)), PictureOptions(views="face"))
    assert not found
    assert notes[1] == "View face is left out: it has 190 x 190 px, and the smallest view is 320 px."


def test_a_crop_that_would_belie_the_words_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, None)
    _, notes = views.proposed(Image.new("RGB", (600, 1200)), options("full body"))
    assert "the square crop would keep 51% of its 600 x 1185 px" in notes[1]


@pytest.mark.parametrize(
    ("box", "said"),
    [((0.5, 0, 0.5, 1), "0.5, 0, 0.5, 1"), ((0, 0, 1.2, 1), "1.2"), ((0, 0, 0.01, 1), "5 x 512 px")],
)
def test_a_wrong_box_is_told(box: tuple[float, float, float, float], said: str) -> None:
    with pytest.raises(PictureError, match=said):
        views.checked([View(name="mine", box=box)], Image.new("RGB", (512, 512)))


def test_a_real_face_is_found() -> None:
    data = pytest.importorskip("skimage.data")
    picture = Image.fromarray(data.astronaut())
    face, why = detector.find_face(picture)
    assert face is not None, why
    assert face.box == pytest.approx((0.345, 0.13, 0.53, 0.32), abs=0.03)
    nothing, why = detector.find_face(Image.new("RGB", (300, 200), "teal"))
    assert nothing is None
    assert why.endswith("found no face")


def test_no_package_that_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_MAKERS", {"nothing": lambda: None})
    face, why = detector.find_face(Image.new("RGB", (64, 64)))
    assert face is None
    assert "no face detector is installed" in why
