"""What is cut, and where."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from distill.image.crops import crop_box, fit, fit_size, kept_share


def test_square_of_a_wide_picture_is_its_middle() -> None:
    assert crop_box(300, 100, 64, 64) == (100, 0, 200, 100)


def test_square_of_a_tall_picture_keeps_the_upper_part() -> None:
    left, upper, right, lower = crop_box(100, 200, 512, 512)
    assert (left, right) == (0, 100)
    assert (upper, lower) == (20, 120)
    assert kept_share(100, 200, 512, 512) == 0.5


@pytest.mark.parametrize("size", [(1, 1), (40, 40), (512, 512), (768, 512), (1000, 3000), (30_000, 64), (333, 777)])
@pytest.mark.parametrize("resolution", [64, 128, 512, 768])
def test_aspect_sizes_are_multiples_of_64_of_about_the_area(size: tuple[int, int], resolution: int) -> None:
    width, height = fit_size(*size, resolution, "aspect")
    assert width % 64 == height % 64 == 0
    assert 0.5 * resolution**2 <= width * height <= resolution**2
    assert max(width / height, height / width) <= 2
    assert (width >= height) == (size[0] >= size[1]) or width == height


def test_aspect_keeps_the_shape() -> None:
    assert fit_size(800, 800, 512, "aspect") == (512, 512)
    width, height = fit_size(600, 900, 512, "aspect")
    assert abs(width / height - 2 / 3) < 0.05
    assert kept_share(600, 900, width, height) > 0.93


def test_fit_gives_the_size_and_does_not_distort() -> None:
    levels = np.zeros((400, 200, 3), dtype=np.uint8)
    levels[40:240] = 255  # just what the square keeps
    square = fit(Image.fromarray(levels), 128, "square")
    assert square.size == (128, 128)
    assert np.asarray(square).mean() > 250
    assert fit(Image.new("RGB", (40, 40)), 512, "square").size == (512, 512)
    assert fit(Image.new("RGB", (30_000, 64)), 128, "aspect").size == (128, 64)


def test_the_same_picture_gives_the_same_bytes() -> None:
    image = Image.effect_noise((333, 222), 60).convert("RGB")
    assert fit(image, 128, "square").tobytes() == fit(image, 128, "square").tobytes()
