"""What the command line says of pictures: several of them, their views and masks; `distill views` shows the cuts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from distill.captions.tags import parse
from distill.cli.captioning import caption_file
from distill.cli.flags import options_from
from distill.cli.report import say
from distill.errors import CaptionError, OptionError, OutputError
from distill.image.cuts import Cut
from distill.image.loading import load
from distill.image.upscaling import enlarger
from distill.image.views import ALL, WORDS
from distill.options import Options
from distill.output.atomic import check_writable
from distill.pipeline import check, prepare
from distill.plan import Plan, Shot, View

FORM = "NAME:LEFT,UPPER,RIGHT,LOWER[:TAGS][:REPEATS]"


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What belongs to the first picture; the others come with their own .txt. Raises DistillError."""
    repeats = _repeats(arguments.picture_repeats, len(arguments.picture))
    return Plan(
        views=tuple(view_of(text) for text in arguments.view) or None,
        mask=load(arguments.mask_file).image.convert("L") if arguments.mask_file else None,
        repeats=repeats[0],
        more=tuple(
            Shot(source=path, tags=written_tags(path), plan=Plan(repeats=times))
            for path, times in zip(arguments.picture[1:], repeats[1:], strict=True)
        ),
    )


def tags_of(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """Those of the first picture: as given, else in its .txt, else None. Raises CaptionError."""
    return written_tags(arguments.picture[0]) if arguments.captions is None else tuple(parse(arguments.captions))


def written_tags(picture: Path) -> tuple[str, ...] | None:
    """What the .txt beside a picture says, None where there is none. Raises CaptionError."""
    written = caption_file(picture)
    if not written.is_file():
        return None
    try:
        return tuple(parse(written.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionError(f"{written} can't be read: {error}.", "Save it as UTF-8 text.") from error


def view_of(text: str) -> View:
    """A view from what `--view` says. Raises OptionError."""
    name, *parts = (part.strip() for part in text.split(":"))
    name = " ".join(name.lower().split())
    repeats = int(parts.pop()) if len(parts) > 1 and parts[-1].isdigit() else 1
    try:
        left, upper, right, lower = (float(edge) for edge in parts[0].split(","))
    except (IndexError, ValueError):
        raise OptionError(f"--view {text!r} has no box of four numbers.", _HINT) from None
    if len(parts) > 2 or not name:
        raise OptionError(f"--view {text!r} can't be read.", _HINT)
    tags = tuple(parse(parts[1])) if len(parts) > 1 and parts[1] else None
    return View(name=name, box=(left, upper, right, lower), words=WORDS.get(name, (name,)), tags=tags, repeats=repeats)


_HINT = f'Write it as {FORM}, edges from 0 to 1: "face:0.3,0,0.7,0.4" or "face:0.3,0,0.7,0.4:woman, close-up:2".'


def _repeats(text: str, count: int) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdigit() for part in parts) or len(parts) > count:
        raise OptionError(
            f"--picture-repeats is {text!r} for {count} picture{'s' if count > 1 else ''}.",
            "Give a whole number for each, in their order: 2,1.",
        )
    return (*map(int, parts), *(0 for _ in range(count - len(parts))))


def views(arguments: argparse.Namespace) -> int:
    """The training pictures that one picture gives, and their cuts as files. Raises DistillError."""
    options = options_from(arguments)
    if not options.picture.views and not arguments.view:
        options = Options.from_flat({**options.flat(), "views": ALL})
    check(options, ())
    arguments.picture, arguments.picture_repeats = [arguments.picture], ""
    enlarge = enlarger(options.picture.upscaler, ())
    # 512 px is what a checkpoint without a word on it is trained at.
    prepared = prepare(arguments.picture[0], options.picture, 512, plan_of(arguments), enlarge)
    paths = _write(prepared.cuts, arguments.out, prepared.picture.name) if arguments.out else ()
    for i, cut in enumerate(prepared.cuts):
        box = ",".join(f"{edge:.4g}" for edge in cut.box)
        size = f"{cut.image.width} x {cut.image.height} px"
        line = f"{_name(cut):20} {box:28} {size}, {cut.repeats} x  {', '.join(cut.words)}"
        values = {"view": cut.name, "box": cut.box, "size_px": cut.image.size, "repeats": cut.repeats}
        path = {"path": str(paths[i])} if paths else {}
        say(line.rstrip(), arguments.json, **values, words=cut.words, **path)
    for note in prepared.notes:
        say(f"note      {note}", arguments.json, note=note)
    return 0


def _name(cut: Cut) -> str:
    return cut.name or "whole"


def _write(cuts: Sequence[Cut], folder: Path, stem: str) -> list[Path]:
    check_writable(folder)
    paths = [folder / f"{stem}-{i:02d}-{_name(cut).replace(' ', '-')}.png" for i, cut in enumerate(cuts)]
    for cut, path in zip(cuts, paths, strict=True):
        try:
            cut.image.save(path, "PNG")
        except OSError as error:
            raise OutputError(f"{path} can't be written: {error.strerror}.", "Choose another --out.") from error
    return paths
