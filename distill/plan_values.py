"""Views, captions and a mask as plain values: what the tab's page and programs send, checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from distill.captions.tags import parse, tidy
from distill.errors import CaptionError, PictureError
from distill.image.loading import load
from distill.plan import Box, View

MAX_VIEWS, MAX_SHOTS, MAX_REPEATS, MAX_NAME = 16, 7, 1000, 60
MIN_SHARE = 0.01
"""Of an edge of the picture: the smallest view."""

KEYS = ("name", "box", "words", "captions", "repeats")
_EDGE = 1e-4  # what rounding may have added


def views_of(value: Any) -> tuple[View, ...] | None:
    """From a list of objects with `KEYS`; None stays None: the options propose. Raises PictureError, CaptionError."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise PictureError("The views are not a list.", 'Send [{"name": "face", "box": [0.2, 0.1, 0.8, 0.5]}, ...].')
    if len(value) > MAX_VIEWS:
        raise PictureError(f"There are {len(value)} views.", f"{MAX_VIEWS} are the most.")
    return tuple(_view(f"View {n}", item) for n, item in enumerate(value, start=1))


def view_values(view: View) -> dict[str, Any]:
    """The inverse of `views_of` for one view."""
    return {
        "name": view.name,
        "box": list(view.box),
        "words": list(view.words),
        "captions": None if view.tags is None else list(view.tags),
        "repeats": view.repeats,
    }


def _view(which: str, value: Any) -> View:
    checked_keys(which, value, KEYS)
    name = value.get("name", which.lower())
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise PictureError(f"{which}: its name is no text of at most {MAX_NAME} letters.", 'For example "face".')
    return View(
        name=" ".join(name.split()) or which.lower(),
        box=_box(which, value.get("box")),
        words=tags_of(value.get("words")) or (),
        tags=tags_of(value.get("captions")),
        repeats=repeats_of(which, value.get("repeats", 1)),
    )


def checked_keys(which: str, value: Any, known: tuple[str, ...]) -> None:
    """Raises PictureError when `value` is no object, or has other keys than those."""
    if not isinstance(value, Mapping):
        raise PictureError(f"{which} is not an object.", f"It may have: {', '.join(known)}.")
    unknown = sorted(str(key) for key in set(value) - set(known))
    if unknown:
        raise PictureError(f"{which} has unknown parts: {', '.join(unknown)[:200]}.", f"Known are: {', '.join(known)}.")


def _box(which: str, value: Any) -> Box:
    hint = "Give left, upper, right and lower edge as shares of the picture, from 0 to 1."
    if not isinstance(value, list) or len(value) != 4:
        raise PictureError(f"{which} has no box of four numbers.", hint)
    if any(isinstance(edge, bool) or not isinstance(edge, int | float) or not math.isfinite(edge) for edge in value):
        raise PictureError(f"{which} has a box of something else than numbers.", hint)
    if any(not -_EDGE <= edge <= 1 + _EDGE for edge in value):
        raise PictureError(f"{which} is not inside the picture.", hint)
    left, upper, right, lower = (min(1.0, max(0.0, float(edge))) for edge in value)
    if right - left < MIN_SHARE or lower - upper < MIN_SHARE:
        raise PictureError(f"{which} has no size.", hint)
    return left, upper, right, lower


def repeats_of(which: str, value: Any) -> int:
    """How often something comes. Raises PictureError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_REPEATS:
        raise PictureError(f"{which} has repeats of {value!r}.", f"Give a whole number from 0 to {MAX_REPEATS}.")
    return value


def tags_of(value: Any) -> tuple[str, ...] | None:
    """Tags from "a, b" or ["a", "b"]; None stays None: somebody else says them. Raises CaptionError."""
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(parse(value))
    if isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        return tuple(tidy(value))
    raise CaptionError("The captions are neither a text nor a list of texts.", 'Send "a, b" or ["a", "b"].')


def mask_of(data: bytes) -> Image.Image:
    """The picture of a mask as L: white is the subject. Raises PictureError."""
    mask = load(data).image.convert("L")
    if not mask.getbbox():
        raise PictureError("The mask is black all over.", "White is the subject; leave it out to train on everything.")
    return mask
