"""A `.safetensors` file read tensor by tensor: the header first, the weights one at a time.

Written out instead of `safetensors.safe_open` because the header alone has to tell what a file is, and
because one tensor at a time keeps peak memory at one copy: a mapped file would count twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from distill.errors import CheckpointError

if TYPE_CHECKING:
    import torch

LARGEST_HEADER = 100 * 2**20  # bytes; the format's own limit
PICKLE_ENDINGS = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
AGAIN = "Download it again."


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the file: bytes `start` to `end` from the file's beginning."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class TensorFile:
    """The header of a whole `.safetensors` file."""

    path: Path
    entries: dict[str, Entry]
    metadata: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape by name."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def read(self, names: Iterable[str], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """The named tensors on `device` as `dtype`, read in the file's order; raises CheckpointError when it fails."""
        by_place = sorted(names, key=lambda name: self.entries[name].start)
        try:
            with self.path.open("rb") as file:
                return {name: _tensor(file, self.entries[name]).to(device, dtype) for name in by_place}
        except (OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"{self.path.name} could not be read: {error}.", AGAIN) from error


def open_header(path: Path) -> TensorFile:
    """The header of `path`; raises CheckpointError saying what the file is when it is no whole `.safetensors`."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(64)
            _refuse_other_formats(path, first, size)
            length = int.from_bytes(first[:8], "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise CheckpointError(f"{path.name} is damaged or not a safetensors file.", AGAIN)
            file.seek(8)
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.", "Check the path.") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} could not be read: {error.strerror}.", "Check the file's rights.") from None
    except ValueError:  # not JSON, or not UTF-8
        raise CheckpointError(f"{path.name} is damaged: its header can't be read.", AGAIN) from None
    return _whole(path, header, 8 + length, size)


def _whole(path: Path, header: Any, base: int, size: int) -> TensorFile:
    try:
        metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
        entries = {name: _entry(info, base) for name, info in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path.name} is damaged: its header makes no sense.", AGAIN) from None
    wanted = max((entry.end for entry in entries.values()), default=base)
    if wanted > size:
        have, want = (f"{n / 2**20:.1f}" for n in (size, wanted))
        raise CheckpointError(f"{path.name} is cut off: {have} of {want} MiB are there.", AGAIN)
    return TensorFile(path, entries, metadata)


def _entry(info: dict[str, Any], base: int) -> Entry:
    start, end = info["data_offsets"]
    return Entry(str(info["dtype"]), tuple(int(n) for n in info["shape"]), base + int(start), base + int(end))


def _refuse_other_formats(path: Path, first: bytes, size: int) -> None:
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if size == 0:
        raise CheckpointError(f"{path.name} is empty (0 bytes).", AGAIN)
    if path.suffix.lower() in PICKLE_ENDINGS or first[:4] == b"PK\x03\x04" or first[:2] in (b"\x80\x02", b"\x80\x04"):
        raise CheckpointError(
            f"{path.name} is a pickle, which can run code when it is opened.",
            "Convert it to .safetensors, for example with the WebUI's Checkpoint Merger (No interpolation).",
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointError(
            f"{path.name} is a web page, not a model.", "Download the file itself, signed in if asked."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path.name} is a Git LFS pointer, not the model.", "Run `git lfs pull`.")
    if first[:4] == b"GGUF":
        raise CheckpointError(f"{path.name} is a GGUF file.", "Give the .safetensors it was made from.")


def _tensor(file: BinaryIO, entry: Entry) -> torch.Tensor:
    import torch

    dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    dtypes |= {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
    dtypes |= {"I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}
    data = bytearray(entry.end - entry.start)
    file.seek(entry.start)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise ValueError("it ended too early")
    return torch.frombuffer(data, dtype=dtypes[entry.dtype]).reshape(entry.shape)
