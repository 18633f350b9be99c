"""`distill presets`: list, show, save, delete, import and export recipes; `--preset` of the other commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from distill import recipe
from distill.cli.flags import given_options
from distill.cli.report import say
from distill.errors import OptionError
from distill.options import Options
from distill.output import atomic
from distill.presets import BUILT_IN, files, find, store, with_preset
from distill.presets.preset import Preset


def options_with_preset(arguments: argparse.Namespace) -> Options:
    """The options of `--preset`, with the flags that were given over them. Raises OptionError."""
    chosen = find(arguments.preset, store.all_presets(_folder(arguments))) if arguments.preset else None
    return with_preset(chosen, given_options(arguments))


def presets(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    _ACTIONS[arguments.action](arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    own, problems = store.listed(_folder(arguments))
    for each in (*BUILT_IN, *own):
        say(f"{each.name:24} {each.help or 'yours'}", arguments.json, **each.as_json())
    _note(problems, arguments)


def _show(arguments: argparse.Namespace) -> None:
    chosen = _chosen(arguments)
    lines = [f"{chosen.name}  {chosen.help}".rstrip()]
    lines += [f"  {recipe.LABELS[name]:24} {value!s:12} --{_flag(name)}" for name, value in chosen.differing.items()]
    say("\n".join(lines), arguments.json, **chosen.as_json(), whole=dict(chosen.values))


def _save(arguments: argparse.Namespace) -> None:
    name, options = _name(arguments), options_with_preset(arguments)
    kept = store.save(_folder(arguments), name, options, replace=arguments.replace)
    _left_out(given_options(arguments), arguments)
    say(f"Saved {kept.name}.", arguments.json, **kept.as_json())


def _delete(arguments: argparse.Namespace) -> None:
    name = store.delete(_folder(arguments), _name(arguments))
    say(f"Deleted {name}.", arguments.json, deleted=name)


def _import(arguments: argparse.Namespace) -> None:
    path = Path(_name(arguments))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OptionError(f"{path} can't be read: {error.strerror}.", "Give the file of a preset.") from error
    read, notes = files.imported(data, path.name, arguments.as_name)
    kept = store.save(_folder(arguments), read.name, with_preset(read, {}), replace=arguments.replace)
    _note(notes, arguments)
    say(f"Saved {kept.name}.", arguments.json, **kept.as_json())


def _export(arguments: argparse.Namespace) -> None:
    chosen = _chosen(arguments)
    path = arguments.out or Path(f"{chosen.name}.json")
    data, notes = files.exported(chosen, for_kohya=arguments.kohya)
    atomic.write(path, data, replace=arguments.replace)
    _note(notes, arguments)
    say(f"Written {path}.", arguments.json, path=str(path))


_ACTIONS = {
    "list": _list,
    "show": _show,
    "save": _save,
    "delete": _delete,
    "import": _import,
    "export": _export,
}
ACTIONS = tuple(_ACTIONS)


def _chosen(arguments: argparse.Namespace) -> Preset:
    return find(_name(arguments), store.all_presets(_folder(arguments)))


def _name(arguments: argparse.Namespace) -> str:
    if not arguments.which:
        raise OptionError("Which preset was not said.", "`distill presets` lists their names.")
    name: str = arguments.which
    return name


def _folder(arguments: argparse.Namespace) -> Path:
    return store.folder_of(arguments.lora_dir / ".distill")


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _left_out(given: dict[str, object], arguments: argparse.Namespace) -> None:
    personal = [name for name in given if name in recipe.PERSONAL]
    _note([f"{recipe.LABELS[name]} is in no preset: {recipe.PERSONAL[name]}." for name in personal], arguments)


def _note(notes: Iterable[str], arguments: argparse.Namespace) -> None:
    for note in notes:
        say(f"note      {note}", arguments.json, event="note", note=note)
