"""Where a mask comes from, how it follows each cut, and what is left of it at the size of the latents."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill.errors import PictureError
from distill.image import loading
from distill.image.cuts import cuts_of
from distill.image.loading import NEUTRAL_GREY, load
from distill.image.masks import dilated, levels, part_of, subject_mask
from distill.image.pictures import training_pictures
from distill.options import PictureOptions
from distill.plan import Plan, View
from distill.training.encode import encode_mask

RED = (255, 0, 0)
BOX = (30, 20, 60, 90)  # of the subject in the picture of 120 x 100


def drawn(*box: int, size: tuple[int, int] = (120, 100)) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def photo(alpha: Image.Image | None = None) -> Image.Image:
    """A red subject on blue."""
    picture = Image.new("RGB", (120, 100), (0, 0, 255))
    picture.paste(RED, BOX)
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


def red_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., 0]


def test_the_alpha_is_kept_beside_the_composited_picture() -> None:
    picture = load(photo(drawn(*BOX)))
    assert picture.alpha is not None
    assert np.array_equal(np.asarray(picture.alpha), red_of(photo()))
    assert picture.image.getpixel((0, 0)) == NEUTRAL_GREY
    assert load(photo()).alpha is None
    assert load(photo(Image.new("L", (120, 100), 255))).alpha is None


def test_the_alpha_is_turned_and_reduced_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "KEPT_SHORT_EDGE_PX", 200)  # 2048 px take seconds
    large = photo(drawn(*BOX)).resize((300, 250), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6
    large.info["exif"] = exif.tobytes()
    picture = load(large)
    assert picture.alpha is not None
    assert picture.alpha.size == picture.image.size == (200, 240)
    there = np.asarray(picture.alpha) > 128
    assert np.abs(there.astype(int) - (red_of(picture.image) > 191)).mean() < 0.002


def test_auto_takes_the_drawn_one_then_the_transparency_then_none() -> None:
    auto, mine, see_through = PictureOptions(), drawn(0, 0, 60, 50), load(photo(drawn(*BOX)))
    assert subject_mask(see_through, mine, auto)[0] is not None
    assert np.array_equal(np.asarray(subject_mask(see_through, mine, auto)[0]), np.asarray(mine))
    assert np.array_equal(np.asarray(subject_mask(see_through, None, auto)[0]), np.asarray(drawn(*BOX)))
    assert subject_mask(load(photo()), None, auto) == (None, ())
    assert subject_mask(see_through, mine, PictureOptions(mask="none")) == (None, ())
    taken, _ = subject_mask(see_through, mine, PictureOptions(mask="alpha"))
    assert np.array_equal(np.asarray(taken), np.asarray(drawn(*BOX)))


@pytest.mark.parametrize(("kind", "said"), [("drawn", "no mask was drawn"), ("alpha", "no transparent part")])
def test_a_mask_that_was_chosen_and_is_not_there_is_an_error(kind: str, said: str) -> None:
    with pytest.raises(PictureError, match=said) as caught:
        subject_mask(load(photo()), None, PictureOptions(mask=kind))
    assert "auto" in caught.value.hint


def test_a_mask_without_a_subject_is_an_error_and_one_of_everything_is_none() -> None:
    with pytest.raises(PictureError, match="empty"):
        subject_mask(load(photo()), Image.new("L", (9, 9), 90), PictureOptions())
    mask, notes = subject_mask(load(photo()), Image.new("L", (9, 9), 255), PictureOptions())
    assert mask is None
    assert "whole picture" in notes[0]


def test_a_drawn_mask_of_another_size_is_laid_over_the_whole_picture_and_stays_soft() -> None:
    small = Image.linear_gradient("L").resize((6, 5))
    mask, _ = subject_mask(load(photo()), small, PictureOptions())
    assert mask is not None
    assert mask.size == (120, 100)
    assert len(np.unique(np.asarray(mask))) > 50


@pytest.mark.parametrize("crop", ["square", "aspect"])
def test_the_mask_lies_on_the_subject_in_every_cut(crop: str) -> None:
    options = PictureOptions(crop=crop, mask_dilation=0, unmasked_weight=0.0)
    views = (View(name="face", box=(0.21, 0.13, 0.57, 0.81)), View(name="edge", box=(0.4, 0.0, 1.0, 1.0)))
    plan = Plan(views=views, mask=drawn(*BOX))
    picture = load(photo())
    cuts, notes = training_pictures(cuts_of(picture.image, plan, options, 128), picture, plan, options)
    assert [cut.name for cut in cuts] == ["", "face", "edge"]
    assert notes == ()
    for cut in cuts:
        assert cut.mask is not None
        assert cut.mask.size == cut.image.size
        difference = np.abs((np.asarray(cut.mask) > 127).astype(int) - (red_of(cut.image) > 127))
        assert difference.mean() < 0.005, cut.name
        assert 0.02 < (np.asarray(cut.mask) > 127).mean() < 0.9


def test_a_view_without_the_subject_is_left_out_and_a_crop_without_it_is_an_error() -> None:
    picture, options = load(photo()), PictureOptions()
    plan = Plan(views=(View(name="corner", box=(0.6, 0.0, 1.0, 0.4)),), mask=drawn(*BOX))
    cuts, notes = training_pictures(cuts_of(picture.image, plan, options, 64), picture, plan, options)
    assert [cut.name for cut in cuts] == [""]
    assert notes == ("View corner is left out: the subject mask is empty there.",)
    plan = Plan(mask=drawn(0, 0, 4, 100))
    with pytest.raises(PictureError, match="crop shows nothing"):
        training_pictures(cuts_of(picture.image, plan, options, 64), picture, plan, options)


def test_a_view_that_is_all_subject_needs_no_mask() -> None:
    picture, options = load(photo()), PictureOptions()
    plan = Plan(views=(View(name="face", box=(0.3, 0.3, 0.45, 0.6)),), mask=drawn(*BOX))
    cuts, _ = training_pictures(cuts_of(picture.image, plan, options, 64), picture, plan, options)
    assert cuts[0].mask is not None
    assert cuts[1].mask is None


def test_the_floor_is_what_the_background_counts() -> None:
    mask = Image.linear_gradient("L")
    weights = np.asarray(levels(mask, 0, 0.2), dtype=float) / 255
    expected = 0.2 + 0.8 * np.asarray(mask, dtype=float) / 255
    assert np.abs(weights - expected).max() <= 0.5 / 255 + 1e-9
    assert levels(mask, 0, 1.0) is None


@pytest.mark.parametrize("px", [1, 4, 5, 8, 13])
def test_dilation_grows_by_so_many_pixels_on_all_sides(px: int) -> None:
    grown = np.asarray(dilated(drawn(50, 40, 52, 60), px))
    assert np.array_equal(grown, np.asarray(drawn(50 - px, 40 - px, 52 + px, 60 + px)))


def test_dilation_keeps_a_soft_edge() -> None:
    ramp = np.tile(np.clip(np.arange(64) * 8 - 128, 0, 255), (8, 1)).astype(np.uint8)
    grown = np.asarray(dilated(Image.fromarray(ramp), 5))
    assert np.array_equal(grown[:, :-5], ramp[:, 5:])


@pytest.mark.parametrize(("dilation", "least"), [(0, 0.2), (4, 0.6), (8, 1.0)])
@pytest.mark.parametrize("at", range(8))
def test_a_line_of_two_pixels_is_still_there_in_the_latents(dilation: int, least: float, at: int) -> None:
    line = drawn(28 + at, 8, 30 + at, 56, size=(64, 64))
    weights = levels(line, dilation, 0.0)
    assert weights is not None
    seen = encode_mask(weights, (8, 8), flip=False)[0, 0, 2:6].max(dim=1).values
    if dilation == 0:  # it can lie half in one latent and half in the next
        assert (seen >= 0.125).all()
    else:
        assert (seen >= least - 1e-6).all()


def test_part_of_is_as_soft_as_the_mask() -> None:
    part = part_of(Image.linear_gradient("L"), (0.0, 0.25, 1.0, 0.75), (64, 64))
    assert part.getextrema() == (65, 190)
