"""A good picture gets no note, a poor one the right note."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from distill.image.quality import blockiness, blur, noise, report, report_view


@pytest.fixture(scope="module")
def good() -> Image.Image:
    """A photograph-like picture: shapes of all sizes with a fine texture."""
    rng = np.random.default_rng(5)
    levels = np.zeros((256, 256, 3))
    for cells in (4, 8, 16, 32, 64, 128, 256):
        layer = rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        large = np.asarray(Image.fromarray(layer).resize((256, 256), Image.Resampling.BICUBIC), dtype=float)
        levels += (large - 128) * (0.5 if cells == 256 else 1) + 128  # as strong as the others it would be noise
    return Image.fromarray(((levels / 7 - 128) * 2 + 128).clip(0, 255).astype(np.uint8))


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), dtype=np.float64) / 255


def test_a_good_picture_gets_no_note(good: Image.Image) -> None:
    assert report(good, 256) == ()
    assert report(good, 128, "aspect") == ()


def test_small(good: Image.Image) -> None:
    (note,) = report(good, 512)
    assert note.startswith("Small: 256 x 256 px, enlarged 2.0 times to 512 px.")
    tiny = report(good.resize((40, 40)), 512)
    assert tiny[0].startswith("Very small: 40 x 40 px, enlarged 12.8 times.")


def test_blurred(good: Image.Image) -> None:
    soft = good.filter(ImageFilter.GaussianBlur(4))
    assert any(note.startswith("Blurred (0.") for note in report(soft, 256))
    assert report(soft.resize((1024, 1024)), 64) == ()  # at 64 px nothing of that blur is left


def test_blur_agrees_with_scikit_image(good: Image.Image) -> None:
    measure = pytest.importorskip("skimage.measure")
    for radius in (0, 1, 3):  # it takes Sobel steps where the paper, and we, take plain ones
        levels = grey(good.filter(ImageFilter.GaussianBlur(radius)))
        assert blur(levels) == pytest.approx(measure.blur_effect(levels, h_size=9), abs=0.13)


def test_blur_rises_with_the_radius(good: Image.Image) -> None:
    measured = [blur(grey(good.filter(ImageFilter.GaussianBlur(radius)))) for radius in (0, 1, 2, 4)]
    assert measured == sorted(measured)
    assert measured[0] < 0.4 < 0.6 < measured[-1]


def test_strongly_compressed(good: Image.Image) -> None:
    file = BytesIO()
    good.filter(ImageFilter.GaussianBlur(1)).save(file, "JPEG", quality=4)
    crushed = Image.open(file).convert("RGB")
    assert any("Strongly compressed" in note for note in report(crushed, 128))
    assert blockiness(grey(good)) < 1.2


@pytest.mark.parametrize(("factor", "add", "word"), [(0.2, 0, "Very dark"), (0.3, 220, "Very bright")])
def test_dark_and_bright(good: Image.Image, factor: float, add: int, word: str) -> None:
    levels = np.asarray(good, dtype=float) * factor * 1.3 + add
    notes = report(Image.fromarray(levels.clip(0, 255).astype(np.uint8)), 256)
    assert any(word in note and "%" in note for note in notes)


def test_one_colour() -> None:
    assert any("Almost no contrast (0%)" in note for note in report(Image.new("RGB", (256, 256), "teal"), 256))


def test_what_the_crop_loses(good: Image.Image) -> None:
    tall, wide = good.resize((256, 512)), good.resize((512, 256))
    assert "The square crop keeps 50% of the picture, its upper part." in report(tall, 256)[0]
    assert "its middle" in report(wide, 256)[0]
    assert report(tall, 256, "aspect") == ()


def test_a_real_photograph_gets_no_note() -> None:
    data = pytest.importorskip("skimage.data")
    assert report(Image.fromarray(data.astronaut()), 512) == ()
    assert report(Image.fromarray(data.coffee()), 400, "aspect") == ()


def with_noise(image: Image.Image, sigma: float) -> Image.Image:
    rng = np.random.default_rng(0)
    levels = np.asarray(image, dtype=float) + rng.normal(0, sigma, (image.height, image.width, 1))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def test_noise_is_measured_in_levels() -> None:
    flat = Image.radial_gradient("L").resize((320, 256)).convert("RGB")
    for sigma in (0, 5, 20):
        assert 255 * noise(grey(with_noise(flat, sigma))) == pytest.approx(sigma, rel=0.1, abs=1)


def test_noisy() -> None:
    data = pytest.importorskip("skimage.data")
    grainy = with_noise(Image.fromarray(data.astronaut()), 20)
    (note,) = report(grainy, 512)
    assert note.startswith("Noisy (about 17 of 255 levels, clean is under 8)")  # its black suit can't go below 0
    assert report(grainy, 128) == ()  # at 128 px it is averaged away


def test_a_view_repeats_nothing_that_was_said_of_the_whole(good: Image.Image) -> None:
    soft = good.filter(ImageFilter.GaussianBlur(4))
    cut = soft.crop((0, 0, 128, 256))
    notes = report_view(cut, 256, "square", ())
    assert [note.split()[0] for note in notes] == ["Small:", "Blurred", "The"]
    assert report_view(cut, 256, "square", report(soft, 256)) == (notes[0], notes[2])


@pytest.mark.parametrize("size", [(32, 32), (32, 400), (9000, 40)])
def test_odd_sizes_are_judged_too(size: tuple[int, int]) -> None:
    assert report(Image.effect_noise(size, 50).convert("RGB"), 512)
