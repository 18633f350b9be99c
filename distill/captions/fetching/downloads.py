"""Fetching a known model, only when a person says so: what it would be, its progress, cancel and going on.

The work is a child process's (`fetching`), so that cancel is to end it. What is fetched stays, byte for byte, and the
next start asks for the rest. A model counts as there only when every file was checked.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.captions.children import Child, python
from distill.captions.fetching.catalogue import MODELS, Model
from distill.captions.fetching.plans import MARGIN, PLAN, fetched_bytes, is_whole, mib, read_plan, total_bytes
from distill.errors import CaptionError

ASK_S = 60.0  # the hub's answer and the start of a Python, on a slow disk
PAUSE_S = 1.0  # before a lost connection is taken up again; doubled each time


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a person sees before anything is fetched."""

    repository: str
    revision: str  # the commit; "" when the hub is still to be asked
    licence: str
    size_mib: int  # still to be fetched
    folder: Path
    free_mib: int  # on the disk of that folder
    problem: str = ""  # why it can't be fetched now, with a way out


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a download is."""

    state: str  # "running", "done", "cancelled" or "failed"
    done_bytes: int
    total_bytes: int  # estimated until the hub has told the files
    text: str
    error: str = ""
    hint: str = ""


def folder_of(root: Path, model: Model) -> Path:
    """Where that model is or will be."""
    return root / model.name


def is_complete(root: Path, model: Model) -> bool:
    """Whether all of it is there and was checked."""
    return is_whole(folder_of(root, model))


def installed(root: Path) -> tuple[str, ...]:
    """Names of the known models that are there."""
    return tuple(model.name for model in MODELS if is_complete(root, model))


def offer(model: Model, root: Path, *, ask: bool = False) -> Offer:
    """What a download would be; the hub is asked only with `ask`, which takes seconds."""
    folder, problem = folder_of(root, model), _offline()
    plan = read_plan(folder)
    if ask and not plan and not problem:
        try:
            plan = _asked(model, folder)
        except CaptionError as error:
            problem = str(error)
    left = total_bytes(plan) - fetched_bytes(folder, plan) if plan else model.size_mib << 20
    free = _free(folder)
    if not problem and left * MARGIN > free:
        problem = f"{mib(left * MARGIN)} MiB are needed and {mib(free)} are free: free some space or change the folder."
    return Offer(
        repository=model.repository,
        revision=plan.get("revision", model.revision),
        licence=model.licence,
        size_mib=mib(left),
        folder=folder,
        free_mib=free >> 20,
        problem=problem,
    )


def remove(root: Path, model: Model) -> None:
    """Delete what was fetched of that model; other people's folders are left alone. Raises CaptionError."""
    folder = folder_of(root, model)
    known = running(model, root)
    if known is not None and known.snapshot().state == "running":
        raise CaptionError(f"{model.name} is being fetched.", "Cancel that first.")
    if not folder.exists():
        return
    if not (folder / PLAN).is_file():
        raise CaptionError(f"{folder} was not fetched by Distill and was left alone.", "Delete it yourself.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise CaptionError(
            f"{folder} can't be deleted: {error.strerror or error}.", "Close the captioner that uses it, then again."
        ) from None


class Download:
    """One model on its way; `download` starts it."""

    def __init__(self, model: Model, root: Path) -> None:
        self.model = model
        self.folder = folder_of(root, model)
        self._lock = threading.Lock()
        self._ended: Progress | None = None
        self._child = _start(model, self.folder)

    def snapshot(self) -> Progress:
        """How far it is; cheap."""
        with self._lock:
            if self._ended is None and self._child.process.poll() is not None:
                self._ended = self._ending()
            return self._ended or self._progress("running")

    def cancel(self) -> Progress:
        """End it at once and keep what is fetched; does nothing when it has ended."""
        with self._lock:
            if self._ended is None and self._child.process.poll() is None:
                self._child.end()
                self._ended = self._progress("cancelled")
        return self.snapshot()

    def wait(self, timeout_s: float) -> Progress:
        """The last word, or how far it is after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while (progress := self.snapshot()).state == "running" and time.monotonic() < until:
            time.sleep(0.05)
        return progress

    def _ending(self) -> Progress:
        answer = _answer(self._child)
        if "error" not in answer and is_whole(self.folder):
            return self._progress("done")
        return self._progress("failed", answer.get("error", "The download ended."), answer.get("hint", _AGAIN))

    def _progress(self, state: str, error: str = "", hint: str = "") -> Progress:
        plan = read_plan(self.folder)
        total = total_bytes(plan) if plan else self.model.size_mib << 20
        done = fetched_bytes(self.folder, plan) if plan else 0
        text = {
            "running": f"{mib(done)} of {mib(total)} MiB of {self.model.name}",
            "done": f"{self.model.name} is ready.",
            "cancelled": f"Cancelled at {mib(done)} of {mib(total)} MiB, which are kept.",
            "failed": error,
        }[state]
        if state == "running" and not plan:
            text = f"Asking the hub for the files of {self.model.name}."
        elif state == "running" and done >= total:
            text = f"Checking {self.model.name}."
        return Progress(state=state, done_bytes=done, total_bytes=total, text=text, error=error, hint=hint)


def download(model: Model, root: Path) -> Download:
    """Start to fetch it, or go on with what is there; one that is running is joined. Raises CaptionError."""
    key = _key(model, root)
    with _starting:
        for ended in [key for key, known in _running.items() if known.snapshot().state != "running"]:
            del _running[ended]
        if key not in _running:
            try:
                _running[key] = Download(model, root)
            except OSError as error:
                raise CaptionError(f"Python can't be started to fetch {model.name}: {error}.", _AGAIN) from None
        return _running[key]


def running(model: Model, root: Path) -> Download | None:
    """The download of it that this process began last, ended or not."""
    return _running.get(_key(model, root))


def _key(model: Model, root: Path) -> str:
    return str(folder_of(root, model).absolute())


def _start(model: Model, folder: Path, *, ask: bool = False) -> Child:
    about = {key: getattr(model, key) for key in ("name", "repository", "revision", "ref", "licence", "files")}
    job = json.dumps({**about, "folder": str(folder), "ask": ask, "pause_s": PAUSE_S})
    # Newest clients also ask the hub for things that no download needs.
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return Child(python("distill.captions.fetching.child", job), environment)


def _asked(model: Model, folder: Path) -> dict[str, Any]:
    child = _start(model, folder, ask=True)
    until = time.monotonic() + ASK_S
    while child.process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    answer = _answer(child) if child.process.poll() is not None else {"error": "The hub does not answer."}
    child.end()
    if "error" in answer:
        raise CaptionError(answer["error"], answer.get("hint", _AGAIN))
    return answer


def _answer(child: Child) -> dict[str, Any]:
    """The last line of a child that has ended."""
    assert child.process.stdout is not None
    lines = child.process.stdout.read().decode("utf-8", "replace").strip().splitlines()
    said = child.last_error()
    code = child.end()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        answer = None
    return (
        answer if isinstance(answer, dict) else {"error": f"The download ended with code {code}: {said or 'no word'}."}
    )


def _offline() -> str:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON"):
            return f"{name} is set: unset it and start the WebUI again, or choose a folder that has the model."
    return ""


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


_AGAIN = "What was fetched is kept: start again and it goes on from there."
_running: dict[str, Download] = {}
_starting = threading.Lock()
