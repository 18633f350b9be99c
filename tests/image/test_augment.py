"""Copies in other colours and with captions that say what was altered: what is seen in them, what of them counts."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill.errors import OptionError
from distill.image.augment import COLOURS, copies, names_of, recoloured
from distill.image.cuts import Cut, cuts_of
from distill.image.loading import load
from distill.image.pictures import training_pictures
from distill.options import PictureOptions
from distill.plan import Plan, View

MOVED = "on the left, on the right, far away"
BALL = (52, 40, 76, 64)  # in a picture of 128 px


def photo(edge_px: int = 128) -> Image.Image:
    """A red ball a little above the middle, on a ramp from blue to green."""
    y, x = np.mgrid[0:128, 0:128]
    picture = Image.fromarray(np.stack([0 * x, x, 255 - 2 * y], axis=2).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse(BALL, fill=(255, 0, 0))
    return picture.resize((edge_px, edge_px), Image.Resampling.LANCZOS)


def ball(image: Image.Image) -> tuple[float, float, float]:
    """Middle (x, y) and width of the red ball, as shares of the picture."""
    pixels = np.asarray(image).astype(int)
    y, x = np.nonzero((pixels[..., 0] > 127) & (pixels[..., 2] < 100))
    return x.mean() / image.width, y.mean() / image.height, (x.max() - x.min() + 1) / image.width


def pictures(plan: Plan | None = None, source: Image.Image | None = None, **given: Any) -> tuple[dict[str, Cut], Any]:
    plan, options = plan or Plan(views=()), PictureOptions(**{"view_min_px": 64, **given})
    picture = load(source or photo())
    cuts, notes = training_pictures(cuts_of(picture.image, plan, options, 128), picture, plan, options)
    return {cut.name: cut for cut in cuts}, notes


def subject() -> Image.Image:
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).ellipse(BALL, fill=255)
    return mask


def test_names() -> None:
    assert names_of("") == ()
    assert names_of("Far  away, close-up") == ("close-up", "far away")
    assert names_of("all") == ("close-up", "on the left", "on the right", "far away", "grayscale")
    with pytest.raises(OptionError, match="'upside down'"):
        names_of("close-up, upside down")


def test_without_any_option_the_cuts_are_as_they_were() -> None:
    plan, picture, options = Plan(views=(View(name="face", box=(0, 0, 0.5, 0.5)),)), load(photo()), PictureOptions()
    cuts = cuts_of(picture.image, plan, options, 128)
    done, notes = training_pictures(cuts, picture, plan, options)
    assert notes == ()
    assert all(after is before for after, before in zip(done, cuts, strict=True))


def test_each_copy_shows_what_its_caption_says() -> None:
    cuts, notes = pictures(captioned_aug="all")
    x, y, width = ball(cuts[""].image)
    assert notes == ()
    assert [cut.words for cut in cuts.values()] == [
        (),
        ("close-up",),
        ("on the left",),
        ("on the right",),
        ("far away", "wide shot"),
        ("monochrome", "greyscale"),
    ]
    assert ball(cuts["on the left"].image) == pytest.approx((x - 24 / 128, y, width), abs=0.01)
    assert ball(cuts["on the right"].image) == pytest.approx((x + 24 / 128, y, width), abs=0.01)
    assert ball(cuts["far away"].image) == pytest.approx((0.25 + x / 2, 0.25 + y / 2, width / 2), abs=0.02)
    assert ball(cuts["close-up"].image)[2] == pytest.approx(width / 0.6, abs=0.02)
    grey = np.asarray(cuts["grayscale"].image).astype(int)
    assert (grey[..., 0] == grey[..., 2]).all()
    assert {cut.image.size for cut in cuts.values()} == {(128, 128)}


def test_what_was_filled_in_does_not_count() -> None:
    cuts, _ = pictures(captioned_aug="all")
    left, far = (np.asarray(cuts[name].mask) for name in ("on the left", "far away"))
    assert (left[:, :104] == 255).all()
    assert (left[:, 104:] == 0).all()
    assert far.sum() == 255 * 64 * 64
    assert (far[32:96, 32:96] == 255).all()
    assert cuts[""].mask is cuts["close-up"].mask is cuts["grayscale"].mask is None


def test_the_mask_lies_on_the_subject_in_each_copy_too() -> None:
    cuts, _ = pictures(Plan(views=(), mask=subject()), captioned_aug="all", mask_dilation=0, unmasked_weight=0.0)
    assert cuts["grayscale"].mask is cuts[""].mask
    del cuts["grayscale"]
    assert len(cuts) == 5
    for name, cut in cuts.items():
        assert cut.mask is not None
        seen = np.asarray(cut.image).astype(int)
        red = (seen[..., 0] > 127) & (seen[..., 2] < 100)
        assert np.abs(red.astype(int) - (np.asarray(cut.mask) > 127)).mean() < 0.01, name


def test_the_whole_picture_is_at_least_half_of_all() -> None:
    views = (View(name="face", box=(0.2, 0.2, 0.8, 0.8), repeats=2),)
    cuts, _ = pictures(Plan(views=views), captioned_aug="all")
    assert cuts[""].repeats == sum(cut.repeats for name, cut in cuts.items() if name) == 7
    assert pictures(Plan(views=views, repeats=3), captioned_aug="all")[0][""].repeats == 3


def test_a_subject_that_is_there_already_is_not_moved() -> None:
    moved = photo().transform((128, 128), Image.Transform.AFFINE, (1, 0, 40, 0, 1, 0))
    mask = subject().transform((128, 128), Image.Transform.AFFINE, (1, 0, 40, 0, 1, 0))
    cuts, notes = pictures(Plan(views=(), mask=mask), moved, captioned_aug="on the left, on the right")
    assert list(cuts) == ["", "on the right"]
    assert notes == ("Captioned augmentation: on the left is left out, as the subject is there already.",)


def test_an_even_mask_has_its_subject_where_there_is_none() -> None:
    even, _ = pictures(Plan(views=(), mask=Image.new("L", (8, 8), 200)), captioned_aug=MOVED)
    plain, _ = pictures(captioned_aug=MOVED)
    assert [cut.image.tobytes() for cut in even.values()] == [cut.image.tobytes() for cut in plain.values()]


def test_a_close_up_needs_pixels() -> None:
    cuts, notes = pictures(captioned_aug="close-up", view_min_px=100)
    assert list(cuts) == [""]
    assert "77 x 77 px" in notes[0]


def test_a_plain_ground_goes_on_around_the_copies_and_counts() -> None:
    given = {"captioned_aug": "far away", "background": "white", "unmasked_weight": 0.5, "mask_dilation": 0}
    cuts, _ = pictures(Plan(views=(), mask=subject()), **given)
    far = cuts["far away"]
    assert far.image.getpixel((2, 2)) == far.image.getpixel((40, 40)) == (255, 255, 255)
    assert far.mask is not None
    assert far.mask.getpixel((2, 2)) == far.mask.getpixel((40, 40)) == 128
    assert far.ground == ("white background", "simple background")


@pytest.mark.parametrize(("colour", "level"), [("white", 255), ("grey", 128), ("black", 0)])
def test_a_soft_edge_of_the_pictures_own_alpha_takes_the_ground_without_a_seam(colour: str, level: int) -> None:
    alpha = Image.linear_gradient("L").resize((128, 128))
    picture = Image.new("RGB", (128, 128), (200, 40, 90))
    picture.putalpha(alpha)
    cuts, _ = pictures(Plan(views=()), picture, background=colour)
    share = np.asarray(alpha, dtype=float)[..., None] / 255
    expected = share * np.array((200, 40, 90)) + (1 - share) * level
    assert np.abs(np.asarray(cuts[""].image) - expected).max() <= 2


def test_other_colours_are_few_and_slight_and_follow_the_seed() -> None:
    made = recoloured(photo(), random.Random(3))
    again = recoloured(photo(), random.Random(3))
    assert len(made) == COLOURS
    assert [image.tobytes() for image in made] == [image.tobytes() for image in again]
    assert made[0].tobytes() != recoloured(photo(), random.Random(4))[0].tobytes()
    plain = np.asarray(photo()).astype(int)
    changes = [np.abs(np.asarray(image).astype(int) - plain) for image in made]
    assert all(0 < change.mean() < 40 for change in changes)
    lightness = [np.asarray(image.convert("HSV")).astype(int)[..., 2] - plain.max(axis=2) for image in made]
    assert all(np.abs(lightness[i]).max() <= 2 for i in range(1, COLOURS, 2))  # only the hue


def test_brightness_is_kohyas() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    rng = random.Random(0)
    made = np.asarray(recoloured(image, rng)[0])
    power = random.Random(0).uniform(0.95, 1.05)
    assert np.array_equal(made, np.clip(np.asarray(image) ** power, 0, 255).astype(np.uint8))


def test_copies_say_what_was_said_of_the_picture_too_unless_it_is_another_framing() -> None:
    made, _ = copies(Cut("", photo(), tags=("red ball",), words=("upper body",)), ["grayscale", "far away"], None)
    assert made[0].tags == ("red ball", "monochrome", "greyscale")
    assert [cut.words for cut in made] == [("upper body", "monochrome", "greyscale"), ("far away", "wide shot")]
