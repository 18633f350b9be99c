"""Cuts and resizes a picture to what a checkpoint is trained on."""

from __future__ import annotations

import math

from PIL import Image

UPPER_BIAS = 0.2
"""Of the height that a tall picture loses, the share that is cut off above: heads are in the upper part."""

STEP_PX = 64
MAX_ASPECT = 2.0  # SD1.5 repeats the subject in pictures that are longer than this

Box = tuple[float, float, float, float]


def fit(image: Image.Image, resolution_px: int, crop: str) -> Image.Image:
    """The picture as it is trained on: `square`, or `aspect` with about the same area; edges are multiples of 64."""
    size = fit_size(image.width, image.height, resolution_px, crop)
    return image.resize(size, Image.Resampling.LANCZOS, box=crop_box(image.width, image.height, *size))


def fit_size(width: int, height: int, resolution_px: int, crop: str) -> tuple[int, int]:
    """Width and height to train at; of the `aspect` sizes the one nearest in shape, then the largest."""
    if crop == "square":
        return resolution_px, resolution_px
    edges = range(STEP_PX, int(MAX_ASPECT * resolution_px) + 1, STEP_PX)
    area = resolution_px**2
    sizes = [(w, h) for w in edges for h in edges if area / 2 <= w * h <= area and max(w / h, h / w) <= MAX_ASPECT]
    shape = math.log(width / height)
    return max(sizes, key=lambda size: (-round(abs(math.log(size[0] / size[1]) - shape), 2), size[0] * size[1]))


def crop_box(width: int, height: int, to_width: int, to_height: int) -> Box:
    """The largest part (left, upper, right, lower) of the picture with the shape to_width : to_height."""
    scale = min(width / to_width, height / to_height)
    cut_width, cut_height = to_width * scale, to_height * scale
    left = (width - cut_width) / 2
    upper = (height - cut_height) * UPPER_BIAS
    return left, upper, min(float(width), left + cut_width), min(float(height), upper + cut_height)


def kept_share(width: int, height: int, to_width: int, to_height: int) -> float:
    """How much of the picture's area the cut keeps, from 0 to 1."""
    left, upper, right, lower = crop_box(width, height, to_width, to_height)
    return (right - left) * (lower - upper) / (width * height)
