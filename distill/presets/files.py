"""Presets as files to pass on: ours, and kohya's, which are also taken from sd-scripts' TOML where that can be read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from distill.errors import OptionError
from distill.presets import kohya_read, kohya_write, store
from distill.presets.kohya_scripts import is_kohya
from distill.presets.preset import Preset, preset

NOT_ONE = 'A preset of Distill has "options", one of kohya_ss has "LoRA_type".'


def imported(data: bytes, file_name: str, name: str = "") -> tuple[Preset, tuple[str, ...]]:
    """A preset from a file's content, named after the file, and notes on what was not taken. Raises OptionError."""
    own = store.usable_name(name or file_name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or file_name)
    content = _content(data, file_name)
    if store.is_ours(content):
        values, notes = store.taken(content)
    elif is_kohya(content):
        values, notes = kohya_read.read(content)
    else:
        raise OptionError(f"{file_name} holds no preset.", NOT_ONE)
    return preset(own, "", values, is_own=True), notes


def exported(chosen: Preset, *, for_kohya: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """A preset as a file, and notes on what that file can't hold."""
    if not for_kohya:
        return store.dumped(chosen), ()
    settings, notes = kohya_write.write(chosen.values)
    return json.dumps(settings, indent=2, ensure_ascii=False).encode() + b"\n", notes


def _content(data: bytes, file_name: str) -> Mapping[str, Any]:
    if not file_name.lower().endswith(".toml"):
        return store.read_object(data)
    try:
        parser = _toml()
        read: Mapping[str, Any] = parser.loads(data.decode("utf-8-sig"))
    except ValueError as error:  # what both parsers raise is one
        raise OptionError(f"{file_name} is not TOML: {str(error)[:100]}.", "Choose sd-scripts' config file.") from None
    return read


def _toml() -> Any:
    for module in ("tomllib", "tomli"):  # the first is Python's own from 3.11 on
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise OptionError("TOML can't be read by this Python without the package tomli.", "Use kohya_ss' JSON instead.")
