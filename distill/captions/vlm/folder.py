"""What lies in a model folder, read without loading anything: settings, and whether the weights are whole."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

from distill.errors import CaptionError

COPY_AGAIN = "Copy the whole folder again: config.json, all .safetensors files, tokenizer and preprocessor files."
_INDEX = "model.safetensors.index.json"


def read_text(file: Path) -> str:
    """A text file of a model folder. Raises CaptionError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionError(f"{file} can't be read: {error}.", COPY_AGAIN) from None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises CaptionError."""
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise CaptionError(f"{file} is damaged.", COPY_AGAIN)
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises CaptionError."""
    if not (folder / "config.json").is_file():
        raise CaptionError(f"{folder} has no config.json, so it is no model folder.", COPY_AGAIN)
    return read_json(folder / "config.json")


def count_parameters(folder: Path) -> int:
    """How many numbers the weights hold; raises CaptionError unless every file that belongs to them is there, whole."""
    return sum(_parameters_in(file) for file in _weight_files(folder))


def _weight_files(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not (folder / _INDEX).is_file():
        raise CaptionError(
            f"{folder} has no .safetensors weights.", "Pickled weights (.bin) are not opened: get the safetensors file."
        )
    names = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CaptionError(f"{folder / _INDEX} is damaged.", COPY_AGAIN)
    files = sorted({str(name) for name in names.values()})
    missing = [name for name in files if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise CaptionError(f"{folder} lacks {', '.join(missing)} ({len(missing)} of {len(files)} files).", COPY_AGAIN)
    return [folder / name for name in files]


def _parameters_in(file: Path) -> int:
    """From the header, eight bytes of length and a JSON object; its last offset is the file's end."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            size = file.stat().st_size
            if length > size - 8:
                raise ValueError("shorter than its header")
            header = json.loads(stream.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        if size < 8 + length + end:
            raise ValueError("cut off")
        return sum(prod(entry["shape"]) for entry in tensors)
    except OSError as error:
        raise CaptionError(f"{file} can't be read: {error}.", COPY_AGAIN) from None
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise CaptionError(
            f"The weights in {file} are damaged: the file is cut off or no safetensors.", COPY_AGAIN
        ) from None
