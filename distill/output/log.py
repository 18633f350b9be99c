"""The log of a training: a table that any program reads, and TensorBoard's files with kohya's names."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from distill.errors import OutputError
from distill.output import atomic

if TYPE_CHECKING:
    from PIL import Image

TABLE = "steps.csv"
NO_TENSORBOARD = "The package tensorboard is not installed or can't be used; a table is written instead."
COLUMNS = ("step", "epoch", "loss", "average", "lr_unet", "lr_text_encoder", "seconds")


@dataclass(frozen=True)
class Row:
    """One step."""

    step: int
    epoch: int
    loss: float
    average: float  # over the last epoch's steps (kohya's `LossRecorder`)
    lr_unet: float | None = None  # None: not known any more
    lr_text_encoder: float | None = None
    d_lr: float | None = None  # what Prodigy makes of the UNet's rate
    seconds: float | None = None  # since it began, or went on


class Log(Protocol):
    """Where rows go. Each method raises OutputError or OSError when it can't be written."""

    def write(self, row: Row) -> None:
        """One step, so that a crash right after it loses nothing."""
        ...

    def picture(self, image: Image.Image, step: int) -> None:
        """A sample made after a step."""
        ...

    def close(self) -> None:
        """The training has ended."""
        ...


class Table:
    """A CSV; after a crash it goes on with `known`, the rows of the steps that are not taken again."""

    def __init__(self, folder: Path, known: Sequence[Row] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / TABLE
        before = rows_of(path) if known else {}
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows(before.get(row.step) or _cells(row) for row in known)
        atomic.write(path, text.getvalue().encode(), replace=True)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write(self, row: Row) -> None:
        """One line, handed to the system at once."""
        self._writer.writerow(_cells(row))
        self._file.flush()

    def picture(self, image: Image.Image, step: int) -> None:
        """Tables hold none."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """TensorBoard's event files. Raises ImportError where the package can't be used."""

    def __init__(self, folder: Path, known: Sequence[Row] = ()) -> None:
        make = _summary_writer()
        if not known and folder.is_dir():
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        # What a crashed run wrote of later steps is not shown.
        self._writer = make(str(folder), purge_step=known[-1].step + 1 if known else None)

    def write(self, row: Row) -> None:
        """kohya's names, see `generate_step_logs` in its train_network.py."""
        values = {
            "loss/current": row.loss,
            "loss/average": row.average,
            "lr/unet": row.lr_unet,
            "lr/textencoder": row.lr_text_encoder,
            "lr/d*lr/unet": row.d_lr,
        }
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, row.step)
        self._writer.flush()

    def picture(self, image: Image.Image, step: int) -> None:
        """Under one name, to leaf through by step."""
        self._writer.add_image("sample", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception as error:  # protobuf's versions clash in many ways
        raise ImportError(str(error)) from error
    return SummaryWriter


def rows_of(path: Path) -> dict[int, list[str]]:
    """The whole lines of a table by their steps; none where it is missing."""
    try:
        lines = list(csv.reader(path.read_text("utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {int(line[0]): line for line in lines[1:] if len(line) == len(COLUMNS) and line[0].isdigit()}


def opened(folder: Path, how: str, known: Sequence[Row] = ()) -> tuple[list[Log], list[str]]:
    """The logs that `how` ("csv", "tensorboard", "both") asks for, and what is to be said. Raises OutputError."""
    logs: list[Log] = []
    notes = [f"The log is in {folder}."]
    try:
        if how in ("tensorboard", "both"):
            try:
                logs.append(TensorBoard(folder, known))
            except ImportError:
                notes.append(NO_TENSORBOARD)
        if how in ("csv", "both") or not logs:
            logs.append(Table(folder, known))
    except OSError as error:
        raise OutputError(f"The log can't be written to {folder}: {error.strerror or error}.") from error
    return logs, notes


def _cells(row: Row) -> list[str]:
    return ["" if (value := getattr(row, name)) is None else str(value) for name in COLUMNS]
