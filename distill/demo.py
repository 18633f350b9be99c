"""The demonstration: a bundled portrait to a LoRA, and one sheet that shows what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from distill.events import Captioned, Done, Event, Prepared
from distill.host import Host
from distill.options import Options
from distill.output.atomic import write
from distill.output.sampling import generate
from distill.output.sheet import sheet
from distill.output.sidecars import png
from distill.pipeline import distill
from distill.pocket import PORTRAIT

WEIGHTS = (0.4, 0.6, 0.8, 1.0)
SEEDS = 2
"""Rows of the sheet."""

Cell = tuple[str, Image.Image]


def run(
    host: Host,
    out: Path,
    should_stop: Callable[[], bool],
    follow: Callable[[Iterator[Event]], Done],
    picture: Path | None,
) -> Path:
    """Train on `picture` (else the bundled portrait), draw the sheet; returns its path. Raises DistillError."""
    tags: list[str] = []
    shown: list[Image.Image] = []

    def noted(events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Captioned):
                tags.extend(event.tags)
            if isinstance(event, Prepared):
                shown.append(event.image)
            yield event

    options = Options()
    source = picture or PORTRAIT
    done = follow(noted(distill(host, source, None, options, should_stop=should_stop)))
    cells = _cells(host, shown[0], done, tags, options)
    path = out / "sheet.png"
    write(path, png(sheet(cells)), replace=True)
    return path


def _cells(host: Host, source: Image.Image, done: Done, tags: Sequence[str], options: Options) -> list[list[Cell]]:
    lora = f"<lora:{done.path.stem}:{{:g}}>"
    words = ", ".join(tags)
    removed = handle(tags)
    fewer = ", ".join(tag for tag in tags if tag != removed)
    columns = [
        ("without the LoRA", words),
        *((f"weight {weight:g}", f"{words} {lora.format(weight)}") for weight in WEIGHTS),
        (f"0.8, no '{removed}'", f"{fewer} {lora.format(0.8)}"),
    ]
    with host.borrow() as models:
        made = [
            (label, generate(models, prompt, replace(options.sample, count=SEEDS), lora_dir=host.lora_dir))
            for label, prompt in columns
        ]
    return [[("source", source), *((label, images[row]) for label, images in made)] for row in range(SEEDS)]


def handle(tags: Sequence[str]) -> str:
    """The tag whose removal shows best: what is held, else the last but the trigger."""
    return next((tag for tag in tags if tag.startswith("holding ")), tags[-1])
