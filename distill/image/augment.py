"""Altered copies of a training picture: in other colours, or with captions that say what was altered.

The copies with captions are TextBoost's idea (arXiv 2409.08248): what the caption says of a copy is not learned as the
subject's own. What had to be filled in around a moved picture does not count in the loss.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from distill.errors import OptionError
from distill.image.crops import crop_box
from distill.image.cuts import Cut
from distill.plan import Box

COLOURS = 8
HUE_SHIFT = 8 / 180  # of the circle
POWER = 0.95, 1.05

ZOOM = 0.6  # of the picture's edges that a close-up shows
ABOVE = 0.45  # of a close-up, how much is above its middle where the subject begins
ASIDE = 0.3  # where the subject's middle comes to lie, from the edge it is moved to
LEAST_SHIFT, MOST_SHIFT = 0.08, 0.3  # of the width: less is not to be seen, more cuts the subject off
LATENT_PX = 8

CLOSE_UP = "close-up"
WORDS: dict[str, tuple[str, ...]] = {
    CLOSE_UP: ("close-up",),
    "on the left": ("on the left",),
    "on the right": ("on the right",),
    "far away": ("far away", "wide shot"),
    "grayscale": ("monochrome", "greyscale"),
}
"""What the captions say of each copy, by the names that the option takes."""

REFRAMED = (CLOSE_UP, "far away")  # what the picture's own cut is called does not hold for them


def names_of(text: str) -> tuple[str, ...]:
    """The copies that the option `captioned_aug` names. Raises OptionError for an unknown one."""
    given = [" ".join(name.lower().split()) for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in WORDS and name != "all"]
    if unknown:
        raise OptionError(
            f"There is no captioned augmentation {unknown[0]!r}.", f"Choose of: {', '.join(WORDS)}; or all."
        )
    return tuple(name for name in WORDS if name in given or "all" in given)


def recoloured(image: Image.Image, rng: random.Random) -> tuple[Image.Image, ...]:
    """The picture in `COLOURS` other colours, drawn as kohya's color_aug does for each step.

    kohya forbids it with cached latents, as it has to alter pixels anew each time. Here a fixed set is encoded before
    the first step and the steps draw from it: so few and so slight changes teach the same, and the VAE isn't run again.
    """
    return tuple(_other_hue(image, rng) if i % 2 else _other_brightness(image, rng) for i in range(COLOURS))


def _other_hue(image: Image.Image, rng: random.Random) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shift = round(256 * rng.uniform(-HUE_SHIFT, HUE_SHIFT))
    turned = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _other_brightness(image: Image.Image, rng: random.Random) -> Image.Image:
    """kohya's "gamma": the power is of levels up to 255 and not up to 1, so that it lightens or darkens all of them."""
    power = rng.uniform(*POWER)
    return image.point([min(255, int(level**power)) for level in range(256)] * 3)


def middle_of(mask: Image.Image | None) -> tuple[float, float]:
    """Where the subject is, as shares of width and height; without a mask in the middle, a little above."""
    if mask is None or len(set(mask.getextrema())) == 1:
        return 0.5, 0.4
    levels = np.asarray(mask, dtype=np.float64)
    levels = levels - levels.min()
    x, y = levels.sum(axis=0), levels.sum(axis=1)
    return tuple(float((part * (np.arange(len(part)) + 0.5)).sum() / part.sum() / len(part)) for part in (x, y))  # type: ignore[return-value]


def close_up_box(mask: Image.Image | None, size_px: tuple[int, int], shape_px: tuple[int, int]) -> Box:
    """The box of a close-up in a picture of that size and training shape: the subject's upper part."""
    left, upper, right, lower = crop_box(*size_px, *shape_px)
    width, height = ZOOM * (right - left), ZOOM * (lower - upper)
    x, y = (share * edge for share, edge in zip(middle_of(mask), size_px))
    subject = mask.point(lambda level: 255 * (level > 127)).getbbox() if mask is not None else None
    if subject is not None:
        y = min(y, subject[1] + ABOVE * height)
    x = min(max(left, x - width / 2), right - width)
    y = min(max(upper, y - height / 2), lower - height)
    return x / size_px[0], y / size_px[1], (x + width) / size_px[0], (y + height) / size_px[1]


def copies(
    cut: Cut, names: Sequence[str], ground: tuple[int, int, int] | None
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """The copies of a training picture that need nothing but it, and notes; `ground` is the plain one that it is on."""
    made: list[Cut] = []
    notes = []
    for name in names:
        if name == "grayscale":
            made.append(copy_of(cut, name, cut.image.convert("L").convert("RGB"), cut.mask))
        elif name == "far away":
            made.append(_far_away(cut, ground))
        elif name != CLOSE_UP:
            moved = _aside(cut, name, ground)
            if moved is None:
                notes.append(f"Captioned augmentation: {name} is left out, as the subject is there already.")
            else:
                made.append(moved)
    return tuple(made), tuple(notes)


def copy_of(cut: Cut, name: str, image: Image.Image, mask: Image.Image | None) -> Cut:
    """One more training picture like `cut`, whose captions say what was altered."""
    tags = None if cut.tags is None else (*cut.tags, *WORDS[name])
    words = WORDS[name] if name in REFRAMED else (*cut.words, *WORDS[name])
    return replace(cut, name=name, image=image, mask=mask, repeats=1, words=words, tags=tags)


def _aside(cut: Cut, name: str, ground: tuple[int, int, int] | None) -> Cut | None:
    """The subject moved to one side; None where it is there already."""
    is_left = name == "on the left"
    x, _ = middle_of(cut.mask)
    share = min((x if is_left else 1 - x) - ASIDE, MOST_SHIFT)
    if share < LEAST_SHIFT:
        return None
    shift = round(share * cut.image.width / LATENT_PX) * LATENT_PX
    kept = (
        (shift, 0, cut.image.width, cut.image.height) if is_left else (0, 0, cut.image.width - shift, cut.image.height)
    )
    return _placed(cut, name, kept, cut.image.crop(kept).size, (0 if is_left else shift, 0), ground)


def _far_away(cut: Cut, ground: tuple[int, int, int] | None) -> Cut:
    """Half as large, in the middle."""
    width, height = cut.image.size
    return _placed(cut, "far away", (0, 0, width, height), (width // 2, height // 2), (width // 4, height // 4), ground)


def _placed(
    cut: Cut,
    name: str,
    part: tuple[int, int, int, int],
    size: tuple[int, int],
    at: tuple[int, int],
    ground: tuple[int, int, int] | None,
) -> Cut:
    """A part of the picture in another size and place; around it the plain ground, or its edges drawn out."""
    shown = cut.image.resize(size, Image.Resampling.LANCZOS, box=part)
    counted = Image.new("L", size, 255) if cut.mask is None else cut.mask.resize(size, Image.Resampling.BILINEAR, part)
    whole = cut.image.size
    if ground is None:
        image, around = _continued(shown, whole, at), 0
    else:  # a plain ground is as true there as elsewhere
        image, around = Image.new("RGB", whole, ground), int(counted.getextrema()[0])  # type: ignore[arg-type]
    mask = Image.new("L", whole, around)
    image.paste(shown, at)
    mask.paste(counted, at)
    return copy_of(cut, name, image, mask if mask.getextrema()[0] < 255 else None)  # type: ignore[operator]


def _continued(shown: Image.Image, size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    """The picture's edges drawn out to the size and blurred: mirrored, it would show the subject twice."""
    after = [full - part - before for full, part, before in zip(size, shown.size, at)]
    pixels = np.pad(np.asarray(shown), ((at[1], after[1]), (at[0], after[0]), (0, 0)), mode="edge")
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(min(size) / 32))
