"""An order as it outlives the process, in its job's folder beside the picture: enough to go on with it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from distill.errors import DistillError, OutputError
from distill.jobs.job import Order
from distill.options import Options
from distill.output import atomic
from distill.plan import Plan, Shot, View

ORDER = "order.json"
FILE = re.compile(r"order\.json|(mask|alpha|shot)-\d\.(png|bin)")
"""The names of all files of an order."""

_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, DistillError)


def write(folder: Path, order: Order) -> None:
    """Keep everything but the picture itself. Raises OutputError."""
    values = {
        "tags": order.tags,
        "notes": order.notes,
        "options": order.options.flat(),
        "plan": _plan(folder, order.plan, 0),
        "more": [
            {"file": _source(folder, shot.source, i), "tags": shot.tags, "plan": _plan(folder, shot.plan, i)}
            for i, shot in enumerate(order.plan.more, start=1)
        ],
    }
    atomic.write(folder / ORDER, json.dumps(values, indent=1).encode(), replace=True)


def read(folder: Path, picture: Path) -> Order | None:
    """The order with its `picture`; None when it is not there whole."""
    try:
        values = json.loads((folder / ORDER).read_text("utf-8"))
        more = tuple(
            Shot(
                source=_read_source(folder, shot["file"]),
                tags=_tags(shot["tags"]),
                plan=_read_plan(folder, shot["plan"]),
            )
            for shot in values["more"]
        )
        return Order(
            picture=_opened(picture),
            tags=_tags(values["tags"]),
            options=Options.from_flat(values["options"]),
            notes=tuple(values["notes"]),
            plan=_read_plan(folder, values["plan"], more),
        )
    except _DAMAGED:
        return None


def remove(folder: Path) -> None:
    """Nobody will go on with it. Never raises."""
    with contextlib.suppress(OSError):
        for path in [path for path in folder.iterdir() if FILE.fullmatch(path.name)]:
            path.unlink(missing_ok=True)


def _plan(folder: Path, plan: Plan, place: int) -> dict[str, Any]:
    return {
        "views": None if plan.views is None else [asdict(view) for view in plan.views],
        "mask": _image(folder, plan.mask, f"mask-{place}.png"),
        "alpha": _image(folder, plan.alpha, f"alpha-{place}.png"),
        "repeats": plan.repeats,
    }


def _read_plan(folder: Path, values: dict[str, Any], more: tuple[Shot, ...] = ()) -> Plan:
    mask, alpha = (values[name] and _opened(folder / Path(values[name]).name) for name in ("mask", "alpha"))
    views = values["views"]
    return Plan(
        views=None if views is None else tuple(_view(view) for view in views),
        mask=mask,
        alpha=alpha,
        repeats=values["repeats"],
        more=more,
    )


def _view(values: dict[str, Any]) -> View:
    left, upper, right, lower = values["box"]
    return View(
        name=values["name"],
        box=(left, upper, right, lower),
        words=tuple(values["words"]),
        tags=_tags(values["tags"]),
        repeats=values["repeats"],
    )


def _tags(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _source(folder: Path, source: Path | bytes | Image.Image, place: int) -> str:
    if isinstance(source, Image.Image):
        return str(_image(folder, source, f"shot-{place}.png"))
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise OutputError(f"A further picture can't be read: {error.strerror}.") from error
    atomic.write(folder / f"shot-{place}.bin", data, replace=True)
    return f"shot-{place}.bin"


def _read_source(folder: Path, name: str) -> bytes | Image.Image:
    path = folder / Path(name).name
    return path.read_bytes() if path.suffix == ".bin" else _opened(path)


def _image(folder: Path, image: Image.Image | None, name: str) -> str | None:
    if image is not None:
        atomic.write(folder / name, png(image), replace=True)
    return None if image is None else name


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image.copy()


def png(picture: Image.Image) -> bytes:
    """Quickly; what PNG has no form for becomes RGB."""
    out = io.BytesIO()
    plain = picture if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else picture.convert("RGB")
    plain.save(out, "PNG", compress_level=1)  # nobody waits for the last per cent
    return out.getvalue()
