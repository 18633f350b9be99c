"""Presets that a person saved: one JSON file each, in a folder beside the journals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import distill
from distill import recipe
from distill.captions.naming import checked_name
from distill.errors import CaptionError, OptionError, OutputError
from distill.options import Options
from distill.output import atomic
from distill.presets.builtin import BUILT_IN
from distill.presets.preset import Preset, find, preset

FORMAT = 1
MOST_BYTES = 2**20  # a preset has some thousand; a checkpoint that was chosen by mistake has more
LONGEST_NAME = 60


def folder_of(work_dir: Path) -> Path:
    """Where the presets of a host are."""
    return work_dir / "presets"


def listed(folder: Path) -> tuple[tuple[Preset, ...], tuple[str, ...]]:
    """All saved presets by name, and what is wrong with files that can't be read as one."""
    found, problems = [], []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem.casefold()):
        try:
            read, notes = parse(path.read_bytes(), path.stem)
            found.append(read)
            problems += [f"Preset {path.stem}: {note}" for note in notes]
        except (OptionError, OSError) as error:
            problems.append(f"The preset file {path.name} is left out: {error}")
    return tuple(found), tuple(problems)


def all_presets(folder: Path) -> tuple[Preset, ...]:
    """Those that come with Distill, then the person's."""
    return (*BUILT_IN, *listed(folder)[0])


def save(folder: Path, name: str, options: Options, *, replace: bool = False) -> Preset:
    """Keep the recipe in some options under a name. Raises OptionError for a name that can't be used, OutputError."""
    kept = preset(usable_name(name), "", recipe.of_options(options), is_own=True)
    path = _path_of(folder, kept.name)
    if path.exists() and not replace:
        raise OptionError(f"There is a preset {path.stem!r} already.", "It was left alone: choose another name.")
    atomic.check_writable(folder)
    atomic.write(path, dumped(kept), replace=replace)
    return kept


def delete(folder: Path, name: str) -> str:
    """Delete a saved preset; returns its name. Raises OptionError where it is none of the person's, OutputError."""
    chosen = find(name, all_presets(folder))
    if not chosen.is_own:
        raise OptionError(f"{chosen.name!r} comes with Distill.", "Only presets that you saved can be deleted.")
    try:
        _path_of(folder, chosen.name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"The preset {chosen.name!r} can't be deleted: {error.strerror}.") from error
    return chosen.name


def dumped(chosen: Preset) -> bytes:
    """A preset as its file holds it: what differs from the defaults."""
    about = {"format": FORMAT, "distill": distill.__version__, "name": chosen.name, "options": chosen.differing}
    return json.dumps(about, indent=2, ensure_ascii=False).encode() + b"\n"


def parse(data: bytes, name: str) -> tuple[Preset, tuple[str, ...]]:
    """A preset from its file's content under `name`, and notes on what in it was not taken. Raises OptionError."""
    values, notes = taken(read_object(data))
    return preset(name, "", values, is_own=True), notes


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises OptionError."""
    if len(data) > MOST_BYTES:
        raise OptionError("The file is too large for a preset.", "Choose the JSON file of a preset.")
    try:
        read = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise OptionError("The file is not JSON.", "Choose the JSON file of a preset.") from None
    if not isinstance(read, dict):
        raise OptionError("The file holds no preset.", "Choose the JSON file of a preset.")
    return read


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a preset of Distill."""
    return isinstance(content.get("options"), dict) and "format" in content


def taken(content: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The recipe's options in a preset's file, and which others it has. Raises OptionError."""
    if not is_ours(content):
        raise OptionError("The file holds no preset.", 'It would have "format" and "options".')
    if content["format"] != FORMAT:
        raise OptionError(f"The preset has the format {content['format']!r:.20}.", f"This Distill reads {FORMAT}.")
    given = content["options"]
    unknown = sorted(set(given) - set(recipe.LABELS))
    personal = [name for name in given if name in recipe.PERSONAL]
    notes = [f"Unknown options are left out: {', '.join(unknown)[:300]}."] if unknown else []
    notes += [f"{recipe.LABELS[name]} is yours to choose: {recipe.PERSONAL[name]}." for name in personal]
    return {name: given[name] for name in given if name in recipe.DEFAULTS}, tuple(notes)


def usable_name(name: str) -> str:
    """A name for a preset of one's own. Raises OptionError."""
    tidy = " ".join(name.split())
    try:
        checked_name(tidy)
    except CaptionError as error:
        raise OptionError(error.message, error.hint) from None
    if len(tidy) > LONGEST_NAME:
        raise OptionError(f"The name {tidy[:40]}... is longer than {LONGEST_NAME} letters.", "Choose a shorter one.")
    if tidy.casefold() in {each.name.casefold() for each in BUILT_IN}:
        raise OptionError(f"{tidy!r} is a preset that comes with Distill.", "Choose another name.")
    return tidy


def _path_of(folder: Path, name: str) -> Path:
    """The file of that name; one that is there in other letters is the same one, as some disks have it."""
    there = {path.stem.casefold(): path for path in folder.glob("*.json")}
    return there.get(name.casefold(), folder / f"{name}.json")
