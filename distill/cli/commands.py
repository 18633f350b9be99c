"""What each command does: find the host, call the pipeline, report."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from distill.cli.captioning import caption, captioners
from distill.cli.flags import options_from
from distill.cli.pictures import plan_of, tags_of, views
from distill.cli.presets import options_with_preset, presets
from distill.cli.report import follow, interruptible, say
from distill.cli.residue import residue
from distill.errors import OutputError
from distill.hosts.standalone import Standalone
from distill.options import markdown_table
from distill.pipeline import distill
from distill.pocket import CHECKPOINT

__all__ = [
    "caption",
    "captioners",
    "demo",
    "generate",
    "info",
    "options",
    "presets",
    "residue",
    "serve",
    "train",
    "views",
]


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


def train(arguments: argparse.Namespace) -> int:
    """Picture and captions to a LoRA."""
    options, tags, plan = options_with_preset(arguments), tags_of(arguments), plan_of(arguments)
    with interruptible() as should_stop:
        events = distill(
            _host(arguments),
            arguments.picture[0],
            tags,
            options,
            plan=plan,
            should_stop=should_stop,
            resume=arguments.resume,
        )
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


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{i + 1:02d}") for i in range(count)]
