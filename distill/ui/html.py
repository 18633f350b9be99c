"""The HTML of the tab's texts and pictures, from plain values; everything of a person's is escaped."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_PX = 256


def notes(sentences: Iterable[str]) -> str:
    """A quiet list under the picture; "" without any."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="distill-notes">{items}</ul>' if items else ""


def problem(message: str, hint: str = "") -> str:
    """What went wrong and what to do, announced to screen readers; "" for nothing."""
    if not message:
        return ""
    more = f" <span>{escape(hint)}</span>" if hint else ""
    return f'<div class="distill-problem" role="alert"><b>{escape(message)}</b>{more}</div>'


def banner(sentence: str) -> str:
    """On top of the tab, when something is missing."""
    return problem(sentence) if sentence else ""


def checkpoint(name: str, trouble: str) -> str:
    """What would be trained on, or why nothing can be."""
    if trouble:
        return problem(trouble)
    return f'<span class="distill-quiet">Trains on</span> <b>{escape(name)}</b>'


def counter(used: int, limit: int, captions: Mapping[str, Any]) -> str:
    """Tokens used; `captions` is what javascript/distill_chips.js reads (`ui/chips.py`)."""
    state = " distill-over" if used > limit else ""
    return (
        f'<div class="distill-counter{state}" data-captions="{escape(json.dumps(captions))}">'
        f"<span>{used} / {limit} tokens</span></div>"
    )


def editor(box: str, mode: str = "edit") -> str:
    """Where the chips of the textbox `box` stand: to "edit", or to "take" some of them into another."""
    return f'<div class="distill-editor" data-chips-for="{escape(box)}" data-mode="{escape(mode)}"></div>'


def vocabulary(words: Mapping[str, Sequence[str]]) -> str:
    """What javascript/distill_chips_add.js completes tags with; it is never seen."""
    return f'<div data-words="{escape(json.dumps(words))}"></div>'


def described(body: str, by: Sequence[str] = ()) -> str:
    """What came of "Describe": who said it, then `body`; each one another, so that the script sees the answer."""
    who = f'<span class="distill-quiet">Captions by</span> <b>{escape(", ".join(by))}</b>' if by else ""
    return f'<div data-described="{time.time_ns()}">{who}{body}</div>'


def cost(line: str) -> str:
    """One line under the button."""
    return f'<span class="distill-quiet">{escape(line)}</span>'


def status(headline: str, details: Iterable[str]) -> str:
    """What goes on now."""
    said = "".join(f"<span>{escape(detail)}</span>" for detail in details if detail)
    return f'<div class="distill-status"><b>{escape(headline)}</b>{said}</div>'


def cut_off(sentences: Sequence[str]) -> str:
    """Jobs that a killed process left behind."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="distill-cutoff">{items}</ul>' if items else ""


def state(values: Mapping[str, Any]) -> str:
    """What javascript/distill.js reads; it is never seen."""
    return f'<div data-distill="{escape(json.dumps(values))}"></div>'


def data(name: str, values: Mapping[str, Any]) -> str:
    """Values for a script of ours, in the attribute data-`name`; they are never seen."""
    return f'<div data-{name}="{escape(json.dumps(values))}"></div>'


def strip(tiles: Sequence[tuple[str, Sequence[str], Path | None]], chosen: str, absent: str = "no picture") -> str:
    """The epochs as pictures to choose from; a tile is (LoRA's file name, what is under it, its picture).

    Of what is under it, all but the first are marks.

    `absent` stands where there is no picture.
    """
    if not tiles:
        return ""
    made = "".join(_tile(*tile, absent) for tile in tiles)
    return (
        f'<div class="distill-strip" role="radiogroup" aria-label="Epoch to use">{made}</div>'
        f'<div hidden data-chosen="{escape(chosen)}"></div>'
    )


def _tile(stem: str, under: Sequence[str], picture: Path | None, absent: str) -> str:
    source = thumbnail(picture, picture.stat().st_mtime_ns) if picture and picture.is_file() else ""
    shown = f'<img src="{source}" alt="">' if source else f'<i aria-hidden="true">{escape(absent)}</i>'
    said = escape(under[0]) + "".join(f" <em>{escape(mark)}</em>" for mark in under[1:])
    return (
        f'<button type="button" role="radio" aria-checked="false" data-lora="{escape(stem)}" title="{escape(stem)}">'
        f"{shown}<span>{said}</span></button>"
    )


@lru_cache(maxsize=256)
def thumbnail(picture: Path, changed_at: int) -> str:
    """A small copy as a data URI; "" when the file can't be read. `changed_at` keeps an old copy from being shown."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return ""
    return data_uri(small)


def data_uri(image: Image.Image) -> str:
    """A small copy of an RGB picture, for an <img>."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    data = BytesIO()
    small.save(data, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def choices(names: Sequence[str]) -> str:
    """LoRA names to put into a prompt by a click."""
    if not names:
        return '<span class="distill-quiet">No LoRA yet. Train one in the Distill tab.</span>'
    made = "".join(f'<button type="button" data-insert="{escape(name)}">{escape(name)}</button>' for name in names)
    return f'<div class="distill-library" role="group" aria-label="LoRAs">{made}</div>'
