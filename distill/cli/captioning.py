"""`distill caption`: what captioners see in pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from distill.captions.backends import Desk, resolved
from distill.captions.tags import join, without_identity
from distill.cli.flags import options_from
from distill.cli.report import interruptible, say
from distill.errors import OutputError
from distill.options import Options
from distill.pipeline import caption as describe
from distill.pipeline import prepare
from distill.pocket import CHECKPOINT

_AUTO_NOTES = {
    True: "The bundled captioner knows the pocket world only; for other pictures choose another --captioner.",
    False: "No captioner is at hand: choose a --captioner, or write the tags yourself.",
}


def caption(arguments: argparse.Namespace) -> int:
    """Print the captions of each picture; --write puts them beside it."""
    options = options_from(arguments)
    desk = Desk(checkpoint=(arguments.checkpoint or CHECKPOINT).stem)
    if options.caption.captioner == "auto":
        is_pocket = resolved(options.caption, desk) == ("pocket",)
        if is_pocket or not resolved(options.caption, desk):
            print(f"distill: {_AUTO_NOTES[is_pocket]}", file=sys.stderr)
    with interruptible("Stopping.") as should_stop:
        for picture in arguments.picture:
            _one(picture, options, desk, arguments, should_stop)
    return 0


def _one(picture: Path, options: Options, desk: Desk, arguments: argparse.Namespace, should_stop: Any) -> None:
    # 512 px shows a captioner all that it can use, whatever the picture is trained at later.
    prepared = prepare(picture, options.picture, native_px=512)
    described = describe(prepared.image, options.caption, desk, should_stop)
    tags = list(described.tags)
    kept = without_identity(tags) if options.caption.identity == "locked" else tags
    if arguments.write:
        write_text(caption_file(picture), join(kept))
    text = "\n".join(described.lines()) if arguments.groups else join(kept)
    if len(arguments.picture) > 1 and not arguments.json:
        text = f"{picture}: {text}"
    values = described.as_json() | {"notes": [*prepared.notes, *described.notes]}
    say(text, arguments.json, picture=str(picture), **values)
    for note in () if arguments.json else described.notes:
        print(f"distill: {note}", file=sys.stderr)


def caption_file(picture: Path) -> Path:
    """The text file with a picture's captions."""
    return picture.with_suffix(".txt")


def write_text(path: Path, text: str) -> None:
    """Write a new file. Raises OutputError where there is one already."""
    if path.exists():
        raise OutputError(f"{path} is there already.", "It may hold your edits; move or delete it first.")
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}.", "Nothing was changed.") from error
