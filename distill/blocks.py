"""The UNet's 25 blocks as LoRA tools count them, and how much each learns: 12 down, the middle, 12 up."""

from __future__ import annotations

import re

from distill.errors import OptionError

BLOCKS = (*(f"down {i}" for i in range(12)), "mid", *(f"up {i}" for i in range(12)))
_PLACE = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|upsamplers|downsamplers|attentions)\.(\d+)\.")
_ALL = (1.0,) * 25


def _of_17(text: str) -> tuple[float, ...]:
    """From the 17 numbers of the LoRA Block Weight extension: BASE, IN01 02 04 05 07 08, M00, OUT03 ... OUT11."""
    numbers = [float(n) for n in text.split(",")]
    weights = [0.0] * 25
    for block, weight in zip((1, 2, 4, 5, 7, 8, 12, *range(16, 25)), numbers[1:], strict=True):
        weights[block] = weight
    return tuple(weights)


PRESETS: dict[str, tuple[float, ...]] = {
    "all": _ALL,
    "OUTD (article)": (1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1),
    "INS": _of_17("1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0"),
    "IND": _of_17("1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0"),
    "INALL": _of_17("1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0"),
    "MIDD": _of_17("1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"),
    "OUTD": _of_17("1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0"),
    "OUTS": _of_17("1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1"),
    "OUTALL": _of_17("1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1"),
}
"""Weights of the 25 blocks by name. "OUTD (article)" is the array that "Single Image LoRa Part 2" gives by that name;
the others are those of the LoRA Block Weight extension."""


def block_of(path: str) -> int | None:
    """Index into `BLOCKS` of a layer by its path in diffusers' UNet, as kohya counts; None for one outside of them."""
    if path.startswith("mid_block."):
        return 12
    found = _PLACE.match(path)
    if found is None:
        return None
    side, i, kind, j = found[1], int(found[2]), found[3], int(found[4])
    index = 3 * i + (2 if kind in ("upsamplers", "downsamplers") else j)
    return 1 + index if side == "down" else 13 + index


def weights_of(text: str) -> tuple[float, ...]:
    """The 25 weights that an option stands for: a preset's name, 25 numbers, or 12/1/12 with slashes; "" is all 1.

    Raises OptionError.
    """
    named = {name.lower(): weights for name, weights in PRESETS.items()}
    if not text.strip() or text.strip().lower() in named:
        return named.get(text.strip().lower(), _ALL)
    try:
        weights = tuple(float(n) for n in re.split(r"[,/;\s]+", text.strip()) if n)
    except ValueError:
        weights = ()
    if len(weights) != 25 or not all(0 <= w <= 10 for w in weights) or not any(weights):
        raise OptionError(
            f"Block weights are {text[:60]!r}.",
            f"Give 25 numbers from 0 to 10 (12 down, 1 middle, 12 up), not all 0, or one of: {', '.join(PRESETS)}.",
        )
    return weights
