"""What each command does: find the host, call the pipeline, report."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from distill.captions.tags import parse
from distill.cli.flags import options_from
from distill.cli.report import follow, interruptible, say
from distill.errors import CaptionError, OutputError
from distill.hosts.standalone import Standalone
from distill.options import markdown_table
from distill.pipeline import caption as propose
from distill.pipeline import distill, prepare
from distill.pocket import CHECKPOINT

_AUTO_NOTES = {
    True: "The bundled captioner knows the pocket world only; for other pictures give --captioner FOLDER with a BLIP.",
    False: "No captioner is set for this checkpoint: give --captioner FOLDER with a BLIP, or write the tags yourself.",
}


def demo(arguments: argparse.Namespace) -> int:
    """The whole way on the built-in checkpoint."""
    from distill.demo import run

    arguments.lora_dir = arguments.out
    with interruptible() as should_stop:
        show = partial(follow, as_json=arguments.json)
        sheet = run(_host(arguments), arguments.out, should_stop, show, arguments.picture)
        interrupted = should_stop()
    say(f"sheet     {sheet}", arguments.json, event="sheet", path=str(sheet))
    return 130 if interrupted else 0


def caption(arguments: argparse.Namespace) -> int:
    """Print the captions; --write puts them beside the picture."""
    options = options_from(arguments)
    # 512 px shows a captioner all that it can use, whatever the picture is trained at later.
    prepared = prepare(arguments.picture, options.picture, native_px=512)
    checkpoint = (arguments.checkpoint or CHECKPOINT).stem
    tags = propose(prepared.image, options.caption, checkpoint)
    if options.caption.captioner == "auto":
        print(f"distill: {_AUTO_NOTES[checkpoint == CHECKPOINT.stem]}", file=sys.stderr)
    if arguments.write:
        _write_text(_caption_file(arguments.picture), ", ".join(tags))
    say(", ".join(tags), arguments.json, tags=tags, notes=prepared.notes)
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Picture and captions to a LoRA."""
    options, tags = options_from(arguments), _tags(arguments)
    with interruptible() as should_stop:
        events = distill(_host(arguments), arguments.picture, tags, options, should_stop=should_stop)
        done = follow(events, as_json=arguments.json)
        interrupted = should_stop()
    if not done.stopped:
        return 0
    return 130 if interrupted else 3


def generate(arguments: argparse.Namespace) -> int:
    """A prompt to one picture, or to a numbered few."""
    from distill.output.sampling import generate as sample

    options = options_from(arguments)
    host = _host(arguments)
    with host.borrow() as models:
        images = sample(
            models, arguments.prompt, options.sample, lora_dir=host.lora_dir, clip_skip=options.caption.clip_skip
        )
    for path, image in zip(_numbered(arguments.out, len(images)), images, strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, "PNG")
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}.", "Choose another --out.") from error
        say(f"picture   {path}", arguments.json, path=str(path))
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """The tab in a browser."""
    from distill.cli.serve import serve as run

    return run(arguments)


def info(arguments: argparse.Namespace) -> int:
    """What a file is."""
    from distill.hosts.describe import describe

    for key, value in describe(arguments.file).items():
        say(f"{key:28} {value}", arguments.json, **{key: value})
    return 0


def options(arguments: argparse.Namespace) -> int:
    """Every option there is."""
    say(markdown_table(), arguments.json, options=options_from(argparse.Namespace()).flat())
    return 0


def _host(arguments: argparse.Namespace) -> Standalone:
    return Standalone(
        arguments.checkpoint or CHECKPOINT, vae=arguments.vae, lora_dir=arguments.lora_dir, device=arguments.device
    )


def _tags(arguments: argparse.Namespace) -> list[str] | None:
    if arguments.captions is not None:
        return parse(arguments.captions)
    written = _caption_file(arguments.picture)
    if not written.is_file():
        return None
    try:
        return parse(written.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionError(f"{written} can't be read: {error}.", "Save it as UTF-8 text.") from error


def _caption_file(picture: Path) -> Path:
    return picture.with_suffix(".txt")


def _write_text(path: Path, text: str) -> None:
    if path.exists():
        raise OutputError(f"{path} is there already.", "It may hold your edits; move or delete it first.")
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}.", "Nothing was changed.") from error


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{i + 1:02d}") for i in range(count)]
