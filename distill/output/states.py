"""States of trainings that have not ended, one folder each: a JSON that names its file of tensors.

The JSON is written last, so a state is the one before or the one after, whenever the process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import OutputError
from distill.output import atomic, tensor_bytes
from distill.processes import alive, started_at_s

if TYPE_CHECKING:
    import torch

FOLDER, ABOUT = "states", "state.json"
MOST = 5  # states of trainings that died and never went on
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Kept:
    """A state as its folder has it."""

    folder: Path
    values: dict[str, Any]
    pid: int
    process_started_s: float
    file: str

    @property
    def key(self) -> str:
        """The job or the LoRA that it belongs to."""
        return self.folder.name

    @property
    def in_use(self) -> bool:
        """Whether another process works on it now."""
        return self.pid != os.getpid() and alive(self.pid, self.process_started_s)

    def tensors(self) -> dict[str, torch.Tensor]:
        """On the CPU. Raises OutputError when they are damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            found: dict[str, torch.Tensor] = load_file(str(self.folder / self.file))
        except (OSError, SafetensorError) as error:
            raise OutputError(f"The state of {self.key} is damaged: {error}.", "Train anew.") from error
        return found


def folder_for(work_dir: Path, key: str) -> Path:
    """The folder of `key`; another one while a running program uses that."""
    folder, n = work_dir / FOLDER / key, 1
    while (kept := read(folder)) is not None and kept.in_use:
        n += 1
        folder = folder.with_name(f"{key}-{n}")
    return folder


def write(folder: Path, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Keep a state in `folder` in place of the one before. Raises OutputError; then that one is still whole."""
    before = read(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} can't be made: {error.strerror}.", "Free its disk or rights.") from error
    file = "b.safetensors" if before is not None and before.file == "a.safetensors" else "a.safetensors"
    tensors = tensor_bytes.ordered(tensors)
    pieces = map(tensor_bytes.data, tensors.values())
    atomic.write(folder / file, tensor_bytes.header(tensors, {}), *pieces, replace=True)
    _write_about(folder, values, file)
    if before is not None:
        with contextlib.suppress(OSError):
            (folder / before.file).unlink(missing_ok=True)


def claim(kept: Kept) -> None:
    """This process goes on with it. Raises OutputError when another one does, or when it can't be written."""
    now = read(kept.folder)
    if now is None or now.in_use:
        raise OutputError(f"{kept.key} goes on in another running program.", "Stop it there.")
    _write_about(kept.folder, kept.values, kept.file)


def read(folder: Path) -> Kept | None:
    """The state in `folder`; None when there is no whole one."""
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        kept = Kept(
            folder, dict(about["values"]), int(about["pid"]), float(about["started_s"]), Path(about["file"]).name
        )
    except _DAMAGED:
        return None
    return kept if (folder / kept.file).is_file() else None


def every(work_dir: Path) -> list[Kept]:
    """All whole states, newest first."""
    try:
        folders = sorted((work_dir / FOLDER).iterdir(), key=_changed_s, reverse=True)
    except OSError:
        return []
    return [kept for kept in map(read, folders) if kept is not None]


def remove(folder: Path) -> None:
    """The training has ended, or nobody wants to go on with it. Never raises."""
    ours = {ABOUT, "a.safetensors", "b.safetensors"}
    with contextlib.suppress(OSError):
        if folder.is_dir() and all(path.name in ours or path.suffix == ".part" for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def tidy(work_dir: Path) -> None:
    """Remove the oldest of those that nobody goes on with."""
    for kept in [kept for kept in every(work_dir) if not kept.in_use][MOST:]:
        remove(kept.folder)


def _write_about(folder: Path, values: dict[str, Any], file: str) -> None:
    about = {"values": values, "pid": os.getpid(), "started_s": started_at_s(os.getpid()), "file": file}
    atomic.write(folder / ABOUT, json.dumps(about).encode(), replace=True)


def _changed_s(folder: Path) -> float:
    try:
        return (folder / ABOUT).stat().st_mtime
    except OSError:
        return 0.0
