"""What is in a LoRA without captions: looked for in the background, one LoRA at a time."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from distill.captions.captioner import CaptioningStopped
from distill.errors import CheckpointError, JobError
from distill.host import Host, Turn
from distill.jobs.job import Job
from distill.jobs.running import free_memory, said
from distill.options import CaptionOptions, Options
from distill.pipeline import desk_of, prepare
from distill.residue import Asked, Looks, Residue, residue

ACTIVE = ("waiting", "running")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How far it is, and what came of it."""

    state: str = "idle"  # idle, waiting, running, done, cancelled, failed
    lora: str = ""  # its name
    done: int = 0
    total: int = 0
    text: str = ""  # what goes on, one sentence
    found: Residue | None = None  # once done
    error: str = ""
    hint: str = ""

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE


class Searches:
    """Looks into LoRAs on behalf of tab and command line."""

    def __init__(self, host: Host, is_training: Callable[[], bool]) -> None:
        self._host, self._is_training = host, is_training
        self._lock = threading.RLock()
        self._now = Search()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, asked: Asked, options: Options, key: str = "") -> Search:
        """Begin to look; `key` is the endpoint's.

        Raises JobError while another one is looked into or a LoRA is trained, CheckpointError.
        """
        if self._is_training():
            raise JobError("A LoRA is being trained now.", "Look into this one when it has ended.")
        loaded = self._host.loaded()
        if loaded.problem:
            raise CheckpointError(loaded.problem)
        with self._lock:
            if self._now.active:
                raise JobError("A LoRA is being looked into already.", "Wait for it, or stop it.")
            self._stop = threading.Event()
            text = "Waits until the picture that is being made is done."
            self._now = Search(state="waiting", lora=asked.lora.stem, text=text)
            arguments = (asked, options, key, self._stop)
            self._thread = threading.Thread(target=self._work, args=arguments, name="distill-residue", daemon=True)
            self._thread.start()
        if self._is_training():  # one that came meanwhile goes first
            self.cancel()
        return self.snapshot()

    def cancel(self, text: str = "Stopped.") -> None:
        """End it, if it is at work; the model is back after the step at work."""
        with self._lock:
            self._stop.set()
            self._tell(self._stop, state="cancelled", text=text)

    def snapshot(self) -> Search:
        """It as it is now."""
        with self._lock:
            return self._now

    def wait(self, timeout_s: float) -> Search:
        """It when it has ended and the model is given back, or as it is after `timeout_s`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self.snapshot()

    def close(self) -> None:
        """End it and wait until the model is given back."""
        self.cancel()
        self.wait(60)

    def _work(self, asked: Asked, options: Options, key: str, stop: threading.Event) -> None:
        try:
            with self._host.turn(f"distill-{secrets.token_hex(6)}", "Distill: looks into a LoRA") as turn:
                self._look(asked, options, key, stop, turn)
        except CaptioningStopped:
            self._tell(stop, state="cancelled", text="Stopped.")
        except Exception as error:  # noqa: BLE001 - told to whoever asks for the snapshot
            message, hint = said(error)
            self._tell(stop, state="failed", text=message, error=message, hint=hint)
        else:
            return
        free_memory()  # not in the `except`: there the error still holds the frames and their tensors

    def _look(self, asked: Asked, options: Options, key: str, stop: threading.Event, turn: Turn) -> None:
        self._tell(stop, state="running", text="Gets the checkpoint ready.")
        desk = desk_of(self._host, self._host.loaded().name, key=key)
        events = residue(self._host, asked, options, desk, should_stop=lambda: stop.is_set() or turn.interrupted())
        with contextlib.closing(events):  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Looks):
                    self._tell(stop, done=event.done, total=event.total, text=event.text)
                    turn.report(event.done, event.total, event.text)
                else:
                    self._tell(stop, state="done", text="Looked into it.", found=event)

    def _tell(self, stop: threading.Event, **changes: object) -> None:
        """Changes of the one at work; one that has ended is not heard any more."""
        with self._lock:
            if self._stop is stop and self._now.active:
                self._now = replace(self._now, **changes)  # type: ignore[arg-type]


def asked_of(
    job: Job, picture: Path | None, lora: str, native_px: int, described: CaptionOptions
) -> tuple[Asked, Options]:
    """What to ask of one of a job's LoRAs, "" being the last; with the captioner of `described`. Raises JobError."""
    from distill.image.loading import load

    saved = next((s for s in job.saved if s.path.stem == lora), job.saved[-1] if job.saved else None)
    if saved is None or not saved.is_there:
        raise JobError("This LoRA's file is not there any more.", "Train it again.")
    if picture is None:
        raise JobError("The picture of this job is not kept any more.", "Use `distill residue` on the command line.")
    image = prepare(load(picture).image, job.options.picture, native_px).image
    asked = Asked(lora=saved.path, image=image, called=job.tags[0], captions=job.tags[1:])
    own = {name: getattr(described, name) for name in ("captioner", "endpoint", "endpoint_model")}
    return asked, replace(job.options, caption=replace(job.options.caption, **own))
