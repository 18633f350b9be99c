"""What outlives the process: one folder for each job, with its picture and a journal that is always whole."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from distill.errors import OptionError, OutputError
from distill.events import measured
from distill.jobs import orders
from distill.jobs.job import STATES, Job, Order, SavedLora
from distill.jobs.orders import png
from distill.options import Options
from distill.output import atomic
from distill.processes import alive, started_at_s

KEPT = 50  # jobs whose folders stay
JOURNAL, PICTURE = "journal.json", "picture.png"

_log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A job as its journal has it."""

    job: Job
    pid: int
    process_started_s: float  # Unix time
    dismissed: bool = False

    @property
    def alive(self) -> bool:
        """Whether the process that works, or worked, on it still runs."""
        return alive(self.pid, self.process_started_s)

    @property
    def ended(self) -> Job | None:
        """The job as it ended; None while another process still works on it."""
        if not self.job.active:
            return self.job
        return None if self.alive else _cut_off(self.job)


class Journal:
    """The folder of one Host's jobs; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, job: Job, picture: Image.Image) -> None:
        """A folder for a new job, in place of the oldest ones. Raises OutputError when it can't be written."""
        try:
            (self.folder / job.id).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} can't be written: {error.strerror}.", "Free its disk or rights."
            ) from error
        atomic.write(self.folder / job.id / PICTURE, png(picture), replace=True)
        self.write(job)
        self._forget_oldest()

    def write(self, job: Job, *, dismissed: bool = False) -> None:
        """Keep how it stands now. Raises OutputError."""
        values = {
            "job": job.as_json(),
            "lora_dirs": sorted({str(saved.path.parent) for saved in job.saved}),
            "pid": os.getpid(),
            "process_started_s": started_at_s(os.getpid()),
            "dismissed": dismissed,
        }
        atomic.write(self.folder / job.id / JOURNAL, json.dumps(values, indent=1).encode(), replace=True)

    def keep_order(self, job_id: str, order: Order) -> None:
        """What is needed to go on with it after a crash. Raises OutputError."""
        orders.write(self.folder / job_id, order)

    def order(self, job_id: str) -> Order | None:
        """What `keep_order` kept; None when it is not there whole."""
        picture = self.picture(job_id)
        return orders.read(self.folder / job_id, picture) if picture else None

    def forget_order(self, job_id: str) -> None:
        """Nobody will go on with it. Never raises."""
        orders.remove(self.folder / job_id)

    def picture(self, job_id: str) -> Path | None:
        """The picture that was given."""
        path = self.folder / job_id / PICTURE
        return path if _ID.fullmatch(job_id) and path.is_file() else None

    def read(self, job_id: str) -> Entry | None:
        """One job; None when there is no whole journal of it."""
        path = self.folder / job_id / JOURNAL
        if not _ID.fullmatch(job_id):
            return None
        try:
            about = path.stat()
        except OSError:
            return None
        return _read(path, about.st_mtime_ns, about.st_size)

    def entries(self) -> list[Entry]:
        """All jobs, newest first; damaged journals are left out, with a note in the log."""
        found = (self.read(folder.name) for folder in self._folders())
        return sorted((entry for entry in found if entry), key=lambda entry: entry.job.created_at, reverse=True)

    def _folders(self) -> list[Path]:
        try:
            return [folder for folder in self.folder.iterdir() if _ID.fullmatch(folder.name) and folder.is_dir()]
        except OSError:
            return []

    def _forget_oldest(self) -> None:
        entries = self.entries()
        running = {entry.job.id for entry in entries if entry.ended is None}
        by_age = sorted(self._folders(), key=_changed_s, reverse=True)
        with contextlib.suppress(OSError):  # another process may tidy up as well
            for folder in by_age[KEPT:]:
                if folder.name not in running and all(_is_ours(path.name) for path in folder.iterdir()):
                    shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=4 * KEPT)
def _read(path: Path, mtime_ns: int, size: int) -> Entry | None:
    """A journal as it was written then; pages ask each second, and a journal is seldom new."""
    try:
        return _entry(json.loads(path.read_text("utf-8")))
    except _DAMAGED as error:
        _log.warning("The journal %s is damaged and was left out: %s", path, error)
        return None


def _is_ours(name: str) -> bool:
    return name in (JOURNAL, PICTURE) or bool(orders.FILE.fullmatch(name)) or name.endswith(".part")


def _changed_s(folder: Path) -> float:
    for path in (folder / JOURNAL, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _entry(values: dict[str, Any]) -> Entry:
    return Entry(
        job=_job(values["job"], [Path(folder) for folder in values["lora_dirs"]]),
        pid=int(values["pid"]),
        process_started_s=float(values["process_started_s"]),
        dismissed=bool(values["dismissed"]),
    )


def _job(values: dict[str, Any], lora_dirs: list[Path]) -> Job:
    known = {f.name: values[f.name] for f in fields(Job) if f.name not in ("given", "measured")}
    known["measured"] = tuple(measured(plain) for plain in values.get("measured", []))
    known |= {name: tuple(values[name]) for name in ("losses", "tags", "notes", "size_px")}
    known["saved"] = tuple(_saved(entry, lora_dirs) for entry in values["saved"])
    known["options"] = _options(values["options"])
    job = Job(**known)
    texts = (job.name, job.text, job.error, job.hint, job.prompt, job.created_at, *job.tags, *job.notes)
    numbers = (job.step, job.total, job.seconds, *job.losses)
    right = all(isinstance(text, str) for text in texts) and all(isinstance(n, int | float) for n in numbers)
    if not right or job.state not in STATES or not _ID.fullmatch(job.id):
        raise ValueError("a value is of the wrong kind")
    return job


def _options(values: dict[str, Any]) -> Options:
    """As they were; the defaults where another version of Distill had other ones."""
    try:
        return Options.from_flat(values)
    except OptionError:
        return Options()


def _saved(values: dict[str, Any], lora_dirs: list[Path]) -> SavedLora:
    folder = next((f for f in lora_dirs if (f / Path(values["file"]).name).is_file()), lora_dirs[0])
    preview = folder / Path(values["preview"]).name if values["preview"] else None
    path = folder / Path(values["file"]).name
    numbers = {name: int(values[name]) for name in ("step", "epoch", "written_ns")}
    return SavedLora(path=path, preview=preview, **numbers)


def _cut_off(job: Job) -> Job:
    """A job whose process died: what is left of it."""
    kept = tuple(
        replace(saved, preview=saved.preview if saved.preview and saved.preview.is_file() else None)
        for saved in job.saved
        if saved.is_there
    )
    where = f"at step {job.step} of {job.total}" if job.step else "before the first step"
    names = ", ".join(saved.path.stem for saved in kept)
    text = f"The program ended {where}. " + (f"Kept: {names}." if kept else "Nothing had been saved.")
    return replace(job, state="cut_off", text=text, saved=kept, eta_s=None)
