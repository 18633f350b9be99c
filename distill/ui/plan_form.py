"""What the page holds of views, mask and further pictures, as a Plan; and back, for a page that was loaded anew.

javascript/distill_views*.js, distill_mask.js and distill_more.js write it, each into a textbox that is never seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from distill.errors import PictureError
from distill.image.loading import Picture
from distill.plan import Plan, Shot, View
from distill.plan_values import MAX_SHOTS, checked_keys, mask_of, repeats_of, tags_of, view_values, views_of

SHOWN_PX = 512
"""Longer edge of what the page draws on, and of the mask that it sends."""

MAX_TEXT = 2**21
_MASK = re.compile(r"data:image/png(?:;picture=([0-9a-f]*))?;base64,([A-Za-z0-9+/=]+)")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Further:
    """A further picture that was added in the page."""

    picture: Picture
    id: str = field(default_factory=lambda: secrets.token_hex(4))


def mark_of(image: Image.Image) -> str:
    """What tells a picture from others: what was drawn on one is not used on another."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()[:12]


def read(drawn: str, mask: str, listed: str, added: Sequence[Further], mark: str) -> Plan:
    """The plan; `mark` is that of the picture that will be trained. Raises PictureError, CaptionError."""
    about = _object(drawn, ("picture", "views", "repeats"), "views")
    _check_mark(about.get("picture"), mark)
    return Plan(
        views=views_of(_without_ids(about.get("views"))),
        mask=_mask(mask, mark),
        repeats=repeats_of("The picture", about.get("repeats", 0)),
        more=_shots(listed, added),
    )


def views_text(views: Sequence[View] | None, mark: str = "", repeats: int = 0) -> str:
    """What `read` takes as `drawn`; without a mark they are for the picture that the page gets next."""
    values = None if views is None else [view_values(view) for view in views]
    return json.dumps({"picture": mark, "views": values, "repeats": repeats})


def mask_text(mask: Image.Image | None) -> str:
    """What `read` takes as `mask`."""
    return "" if mask is None else png_url(shown(mask.convert("L"))).replace(";base64", ";picture=;base64")


def listed_text(shots: Sequence[Shot], added: Sequence[Further]) -> str:
    """What `read` takes as `listed`."""
    values = {
        further.id: {"captions": None if shot.tags is None else ", ".join(shot.tags), "repeats": shot.plan.repeats}
        for shot, further in zip(shots, added)
    }
    return json.dumps(values)


def kept(listed: str, added: Sequence[Further]) -> list[tuple[Further, Mapping[str, Any]]]:
    """The added pictures that were not removed, with what the page says of each. Raises PictureError."""
    about = _object(listed, None, "further pictures")
    pairs = [(further, about.get(further.id, {})) for further in added]
    for n, (_, said) in enumerate(pairs, start=2):
        checked_keys(f"Picture {n}", said, ("captions", "repeats", "removed"))
    return [(further, said) for further, said in pairs if not said.get("removed")]


def shown(image: Image.Image) -> Image.Image:
    """As the page draws it."""
    scale = SHOWN_PX / max(image.size)
    return image if scale >= 1 else image.resize(tuple(max(1, round(edge * scale)) for edge in image.size))  # type: ignore[arg-type]


def png_url(image: Image.Image) -> str:
    """A picture as a data: address."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def _shots(listed: str, added: Sequence[Further]) -> tuple[Shot, ...]:
    chosen = kept(listed, added)
    if len(chosen) > MAX_SHOTS:
        raise PictureError(f"There are {len(chosen)} further pictures.", f"{MAX_SHOTS} are the most; remove some.")
    return tuple(_shot(f"Picture {n}", further, said) for n, (further, said) in enumerate(chosen, start=2))


def _shot(which: str, further: Further, said: Mapping[str, Any]) -> Shot:
    plan = Plan(repeats=repeats_of(which, said.get("repeats", 0)), alpha=further.picture.alpha)
    return Shot(source=further.picture.image, tags=tags_of(said.get("captions")) or None, plan=plan)


def _mask(text: str, mark: str) -> Image.Image | None:
    if not (text or "").strip():
        return None
    match = _MASK.fullmatch(text.strip()) if len(text) <= MAX_TEXT else None
    try:
        data = base64.b64decode(match[2], validate=True) if match else b""
    except binascii.Error:
        data = b""
    if not match or not data.startswith(_PNG):
        raise PictureError("The mask can't be read.", "Clear it and draw it again; nothing was started.")
    _check_mark(match[1], mark)
    return mask_of(data)


def _object(text: str, known: tuple[str, ...] | None, what: str) -> Mapping[str, Any]:
    if not (text or "").strip():
        return {}
    try:
        value = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping) or (known is not None and set(value) - set(known)):
        raise PictureError(f"The {what} can't be read.", "Draw them again; nothing was started.")
    return value


def _check_mark(drawn_on: Any, mark: str) -> None:
    if drawn_on and mark and drawn_on != mark:
        raise PictureError(
            "Views or mask were drawn on another picture.", "Wait until they are cleared; nothing was started."
        )


def _without_ids(views: Any) -> Any:
    """The page names its views to itself."""
    if not isinstance(views, list):
        return views
    return [{key: view[key] for key in view if key != "id"} if isinstance(view, Mapping) else view for view in views]
