"""`distill caption`: what captioners see in pictures; `distill captioners`: which there are, and fetching them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from distill.captions.backends import Desk, resolved
from distill.captions.fetching.downloads import Progress
from distill.captions.tags import join, without_identity
from distill.cli.flags import options_from
from distill.cli.report import interruptible, say
from distill.errors import CaptionError, OutputError
from distill.hosts.standalone import Standalone
from distill.jobs.captioners import SIDECAR, Captioners
from distill.jobs.grounding import Words
from distill.options import Options
from distill.pipeline import caption as describe
from distill.pipeline import desk_of, prepare
from distill.pocket import CHECKPOINT

_AUTO_NOTES = {
    True: "The bundled captioner knows the pocket world only; for other pictures choose another --captioner.",
    False: "No captioner is at hand: `distill captioners` lists them, or write the tags yourself.",
}


def caption(arguments: argparse.Namespace) -> int:
    """Print the captions of each picture; --write puts them beside it."""
    options = options_from(arguments)
    desk = desk_of(_host(arguments), (arguments.checkpoint or CHECKPOINT).stem)
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
    if arguments.check:
        _check(prepared.picture.image, kept, tags, options, arguments, should_stop)


def _check(
    image: Any, tags: list[str], seen: list[str], options: Options, arguments: argparse.Namespace, should_stop: Any
) -> None:
    """Print how far the checkpoint sees each caption in the picture."""
    words = Words(_host(arguments), lambda: False)
    now = words.start(image, tags, options, seen)
    while now.active:
        if should_stop():
            words.cancel()
        print(f"\r{now.done} of at most {now.total} passes ", end="", file=sys.stderr, flush=True)
        now = words.wait(0.5)
    print(file=sys.stderr)
    if now.state == "failed":
        raise CaptionError(now.error, now.hint)
    for found in now.verdicts:
        text = f"{found.verdict:8} {found.score:5.2f}  {found.tag}" + (f"\n    {found.advice}" if found.advice else "")
        say(text, arguments.json, **vars(found))


def captioners(arguments: argparse.Namespace) -> int:
    """List them, fetch or remove one."""
    there, options = Captioners(_host(arguments)), options_from(arguments).caption
    if arguments.action == "list":
        for choice in there.choices(options):
            note = f"\n    {choice.note}" if choice.note else ""
            say(f"{choice.name:16} {choice.label}{note}", arguments.json, **vars(choice))
        return 0
    name = SIDECAR if arguments.action == SIDECAR else arguments.name
    if not name:
        raise CaptionError(f"Which one to {arguments.action} was not said.", "`distill captioners` lists the names.")
    if arguments.action == "remove":
        there.remove(name)
        say(f"{name} is removed.", arguments.json, removed=name)
        return 0
    return _fetch(there, name, arguments)


def _fetch(there: Captioners, name: str, arguments: argparse.Namespace) -> int:
    """Show what it would be, ask, fetch; Ctrl-C keeps what is there."""
    offer = there.offer(name, ask=True)
    about = f"{offer.repository} {offer.revision[:12]}\n{offer.size_mib} MiB, {offer.licence}\n{offer.folder}"
    say(about, arguments.json, event="offer", **{key: str(value) for key, value in vars(offer).items()})
    if offer.problem:
        raise CaptionError(offer.problem)
    if not arguments.yes and not arguments.json and input("Fetch it? [y/N] ").strip().lower() not in ("y", "yes"):
        return 0
    progress: Progress | None = there.fetch(name)
    with interruptible("Cancelling.") as should_stop:
        while progress is not None and progress.state == "running":
            if should_stop():
                there.cancel(name)
            print(f"\r{progress.text:70}", end="", file=sys.stderr, flush=True)
            time.sleep(0.2)
            progress = there.progress(name)
    print(file=sys.stderr)
    assert progress is not None
    if progress.state == "failed":
        raise CaptionError(progress.error, progress.hint)
    say(progress.text, arguments.json, event="ended", **vars(progress))
    return 0 if progress.state == "done" else 130


def _host(arguments: argparse.Namespace) -> Standalone:
    return Standalone(arguments.checkpoint or CHECKPOINT, lora_dir=arguments.lora_dir, device="cpu")


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
