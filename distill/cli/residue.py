"""`distill residue`: what is in a LoRA though no caption names it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from distill.cli.flags import options_from
from distill.cli.report import interruptible, say
from distill.errors import OutputError
from distill.hosts.standalone import Standalone
from distill.jobs.residue import Search, Searches
from distill.options import Options
from distill.output.library import MadeLora, listed
from distill.pipeline import prepare
from distill.pocket import CHECKPOINT
from distill.residue import FOUND, NOTHING, Asked


def residue(arguments: argparse.Namespace) -> int:
    """Print the captions that are missing; --out takes the pictures that were drawn."""
    options = options_from(arguments)
    host = Standalone(
        arguments.checkpoint or CHECKPOINT, vae=arguments.vae, lora_dir=arguments.lora_dir, device=arguments.device
    )
    asked = _asked(arguments, options, host.loaded().native_px)
    searches = Searches(host, lambda: False)
    with interruptible("Stopping.") as should_stop:
        now = searches.start(asked, options)
        while now.active:
            if should_stop():
                searches.cancel()
            share = f" {now.done} of {now.total}" if now.total > 1 else ""
            print(f"\r{now.text + share:70}", end="", file=sys.stderr, flush=True)
            now = searches.wait(0.5)
        searches.close()
    print(file=sys.stderr)
    return _told(now, arguments)


def _told(now: Search, arguments: argparse.Namespace) -> int:
    if now.error:
        raise OutputError(now.error, now.hint)
    if now.found is None:
        return 130
    if arguments.out:
        for i, picture in enumerate(now.found.pictures, start=1):
            _written(picture, arguments.out, f"{now.lora}-{i:02d}.png")
    text = FOUND if now.found.missing else NOTHING
    lines = (*(f"  {tag}" for tag in now.found.missing), f"Seen by {', '.join(now.found.by)}.")
    say(
        "\n".join((text, *lines)), arguments.json, name=now.lora, missing=list(now.found.missing), by=list(now.found.by)
    )
    return 0


def _asked(arguments: argparse.Namespace, options: Options, native_px: int) -> Asked:
    made = _made(arguments.lora_dir, arguments.name)
    source = arguments.picture or made.path.with_suffix(".png")
    if not made.tags:
        raise OutputError(f"{made.name} does not say its captions.", "Its card was changed; write them there again.")
    if not source.is_file():
        raise OutputError(f"The picture of {made.name} is not beside it.", "Give it as --picture FILE.")
    path = next((path for path in made.files if path.stem == arguments.name), made.path)
    image = prepare(source, options.picture, native_px).image
    return Asked(lora=path, image=image, called=made.tags[0], captions=made.tags[1:])


def _made(lora_dir: Path, name: str) -> MadeLora:
    """The LoRA of that name, or with that epoch."""
    for made in listed(lora_dir):
        if name == made.name or any(path.stem == name for path in made.files):
            return made
    raise OutputError(f"There is no LoRA {name[:100]!r} that Distill made in {lora_dir}.", "Name one of those there.")


def _written(picture: Image.Image, folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, "PNG")
    except OSError as error:
        raise OutputError(f"{folder / name} can't be written: {error.strerror}.", "Choose another --out.") from error
