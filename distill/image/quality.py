"""Looks for what makes a poor training picture, and says it with the number that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from distill.image.crops import fit_size, kept_share

BLUR_LIMIT = 0.62
BLOCK_LIMIT = 1.4
NOISE_LIMIT = 8 / 255  # clean photographs have under 3, close-ups of gravel 4, Gaussian noise of 20 a channel 12
NOISE_BLOCK_PX = 16
DARK_LIMIT, BRIGHT_LIMIT = 0.16, 0.92
CONTRAST_LIMIT = 0.03
KEPT_LIMIT = 0.8
VERY_SMALL = 0.25

Grey = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def report(image: Image.Image, target_px: int, crop: str = "square") -> tuple[str, ...]:
    """Plain-words notes on an RGB picture that will be trained at `target_px`; none for a good one."""
    grey: Grey = np.asarray(image.convert("L"), dtype=np.float64) / 255
    notes = [
        _size_note(image, target_px),
        _light_note(grey),
        _contrast_note(grey),
        _blur_note(image, target_px),
        _block_note(grey),
        _noise_note(image, target_px),
        _crop_note(image, target_px, crop),
    ]
    return tuple(note for note in notes if note)


def report_view(cut: Image.Image, target_px: int, crop: str, said: Sequence[str]) -> tuple[str, ...]:
    """Notes on a native cut of a picture, without those of a kind that was said of the whole already."""
    grey: Grey = np.asarray(cut.convert("L"), dtype=np.float64) / 255
    notes = [_size_note(cut, target_px), _blur_note(cut, target_px), _block_note(grey)]
    notes += [_noise_note(cut, target_px), _crop_note(cut, target_px, crop)]
    known = {note.split()[0] for note in said}
    return tuple(note for note in notes if note and note.split()[0] not in known)


def _size_note(image: Image.Image, target_px: int) -> str:
    edge = min(image.size)
    if edge >= target_px:
        return ""
    size = f"{image.width} x {image.height} px"
    if edge <= VERY_SMALL * target_px:
        return f"Very small: {size}, enlarged {target_px / edge:.1f} times. The LoRA will learn the softness too."
    return f"Small: {size}, enlarged {target_px / edge:.1f} times to {target_px} px. A larger one gives more detail."


def _light_note(grey: Grey) -> str:
    mean = float(grey.mean())
    if mean < DARK_LIMIT:
        return f"Very dark (mean brightness {mean:.0%}): the LoRA will darken pictures."
    if mean > BRIGHT_LIMIT:
        return f"Very bright (mean brightness {mean:.0%}): the LoRA will brighten pictures."
    return ""


def _contrast_note(grey: Grey) -> str:
    contrast = float(grey.std())
    return f"Almost no contrast ({contrast:.0%}): there is little to learn." if contrast < CONTRAST_LIMIT else ""


def _blur_note(image: Image.Image, target_px: int) -> str:
    measured = blur(_as_trained(image, target_px))
    if measured < BLUR_LIMIT:
        return ""
    return f"Blurred ({measured:.2f} of 1, sharp is under {BLUR_LIMIT}): the LoRA will learn the blur too."


def _as_trained(image: Image.Image, target_px: int) -> Grey:
    """Grey, and not larger than training sees it: sharpness or noise that it can't see does not count."""
    scale = min(1.0, target_px / min(image.size))
    size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
    small: Grey = np.asarray(image.convert("L").resize(size, Image.Resampling.LANCZOS), dtype=np.float64) / 255
    return small


def _block_note(grey: Grey) -> str:
    measured = blockiness(grey)
    if measured < BLOCK_LIMIT:
        return ""
    return f"Strongly compressed (8 px blocks stand out {measured:.1f} times): take the original if you have it."


def _noise_note(image: Image.Image, target_px: int) -> str:
    measured = noise(_as_trained(image, target_px))
    if measured < NOISE_LIMIT:
        return ""
    levels = f"about {255 * measured:.0f} of 255 levels, clean is under {255 * NOISE_LIMIT:.0f}"
    return f"Noisy ({levels}): the LoRA will learn the grain too."


def _crop_note(image: Image.Image, target_px: int, crop: str) -> str:
    size = fit_size(image.width, image.height, target_px, crop)
    kept = kept_share(image.width, image.height, *size)
    if kept >= KEPT_LIMIT:
        return ""
    part = "upper part" if image.height / image.width > size[1] / size[0] else "middle"
    return f"The {crop} crop keeps {kept:.0%} of the picture, its {part}. Crop it yourself to choose another part."


def blur(grey: Grey) -> float:
    """How little one more blur changes a picture: 0 sharp, 1 blurred (Crete et al. 2007, "The blur effect")."""
    worst = 0.0
    for axis in (0, 1):
        sharp_steps = np.abs(np.diff(grey, axis=axis))
        blurred_steps = np.abs(np.diff(_box_blurred(grey, axis), axis=axis))
        total = float(sharp_steps.sum())
        lost = float(np.maximum(0, sharp_steps - blurred_steps).sum())
        worst = max(worst, (total - lost) / total if total > 1e-9 else 0.0)
    return worst


def _box_blurred(grey: Grey, axis: int, width: int = 9) -> Grey:
    """Mean over `width` neighbours along an axis, the border repeated."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (width // 2 + 1, width // 2)
    sums = np.cumsum(np.pad(grey, pad, mode="edge"), axis=axis)
    ahead, behind = np.split(sums, [width], axis=axis)[1], np.split(sums, [sums.shape[axis] - width], axis=axis)[0]
    mean: Grey = (ahead - behind) / width
    return mean


def noise(grey: Grey) -> float:
    """Standard deviation of the noise (Immerkaer 1996), of the quietest quarter: elsewhere texture would count."""
    a = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    steps = np.abs(a[:, :-2] - 2 * a[:, 1:-1] + a[:, 2:])  # 0 for anything that is flat or a straight edge
    edge = min(NOISE_BLOCK_PX, *steps.shape)
    rows, columns = steps.shape[0] // edge, steps.shape[1] // edge
    blocks = steps[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge).mean((1, 3))
    return float(np.quantile(blocks, 0.25)) * math.sqrt(math.pi / 2) / 6


def blockiness(grey: Grey) -> float:
    """How much the steps on one grid of 8 px stand out of those on the next strongest: 1 is not at all."""
    by_axis = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)  # one mean per gap between neighbours
        if len(steps) < 64:
            return 1.0
        # The median of the gaps on one offset: a single hard edge of the picture is no grid.
        second, first = np.sort([np.median(steps[offset::8]) for offset in range(8)])[-2:]
        by_axis.append(float(first) / max(float(second), 2e-4))
    return min(by_axis)  # a true grid stands out both ways
