"""One job on its way: from the order through the pipeline's events to its end, noted in the journal."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from distill.errors import DistillError, OutputError
from distill.events import Done, Event, Sampled, Saved
from distill.host import Host, Turn
from distill.jobs import costs, going_on
from distill.jobs.job import Job, Order, after
from distill.jobs.journal import Journal
from distill.output.sidecars import ENDINGS
from distill.pipeline import distill
from distill.training.loop import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

JOURNAL_EVERY_S = 3.0

_log = logging.getLogger(__name__)


class Ticket:
    """A job, its order and what the person wishes meanwhile. `changed` guards and tells every change of it."""

    def __init__(self, job: Job, order: Order, host: Host, journal: Journal, changed: threading.Condition) -> None:
        self.job = job
        self.order: Order | None = order  # let go of at the end: it holds the picture
        self.wish = ""  # "stop" or "discard"
        self._host, self._journal, self._changed = host, journal, changed
        self._pace: costs.Pace | None = None
        self._asked_to_stop = False
        self._journal_lock = threading.Lock()
        self._journal_works = True
        self._written_s = 0.0

    def snapshot(self) -> Job:
        """The job as it is now."""
        with self._changed:
            running = self._pace is not None and self.job.active
            return replace(self.job, seconds=self._pace.seconds) if running and self._pace else self.job

    def open_journal(self, order: Order) -> None:
        """Keep job and order; a folder that can't be written is only worth a note."""
        if order.resume:
            self._write()
            return
        self._journaling(lambda: self._journal.begin(self.job, order.picture))
        if order.options.output.keep_state:
            self._journaling(lambda: self._journal.keep_order(self.job.id, order))

    def wait(self) -> None:
        """Its turn has come with us, but not yet with the host."""
        self._set("waiting", "Waits until the picture that is being made is done.")

    def ask(self, wish: str) -> None:
        """The person wants it to end: `wish` is "stop" or "discard". At once where nothing has begun."""
        with self._changed:
            if not self.job.active:
                return
            self.wish = "discard" if "discard" in (wish, self.wish) else wish
            if self.job.state == "running":
                said = "Discards the training." if self.wish == "discard" else "Stops after this step and saves."
                self.job = replace(self.job, text=said)
                self._changed.notify_all()
                return
            state = "discarded" if self.wish == "discard" else "stopped"
            text = (
                "Ended before it went on; what was saved stays."
                if self.job.saved
                else "Ended before it began; nothing was saved."
            )
            self.end(replace(self.job, state=state, text=text))

    def run(self, turn: Turn) -> Job | None:
        """Train; how it ended, to be told once the host has everything back. None when it ended while it waited."""
        if not self._start(turn) or self.order is None:
            return None
        setting = costs.setting_of(self.order.options, self.job.checkpoint, self._host.loaded().native_px)
        done = self._follow(self.order, turn)
        cost = self._pace.cost(setting) if self._pace else None
        if cost is not None and done is not None and not done.stopped:
            costs.keep(self._host.work_dir, cost)
        ending = self.job if done is None else after(self.job, done)
        if done is not None and done.stopped and not self._asked_to_stop:
            ending = replace(ending, error=done.stopped)
        return ending

    def end(self, ending: Job) -> None:
        """Its last change; a second end is not heard."""
        with self._changed:
            if not self.job.active:
                return
            had_files = bool(ending.saved)
            if self.wish == "discard":
                ending = discarded(ending)
            seconds = self._pace.seconds if self._pace else 0.0
            notes = tuple(dict.fromkeys((*self.job.notes, *ending.notes)))
            self.job = replace(ending, notes=notes, seconds=seconds, eta_s=None)
            self.order = None
            if not going_on.can_go_on(self._host.work_dir, self.job):
                going_on.forget(self._host.work_dir, self._journal, self.job.id)
            self._changed.notify_all()
        self._write()
        if had_files:
            self._host.loras_changed()

    def fail(self, error: BaseException) -> None:
        """Its end by an error; what was saved before stays."""
        message, hint = said(error)
        self.end(replace(self.job, state="failed", text=message, error=message, hint=hint))

    def _start(self, turn: Turn) -> bool:
        checkpoint = self._host.loaded().name  # another one may have been chosen meanwhile
        with self._changed:
            if not self.job.active:
                return False
            self._pace = costs.Pace(self.order.options) if self.order else None
            self.job = replace(self.job, checkpoint=checkpoint)
            self._set("running", "Gets the checkpoint ready.")
        self._write()
        turn.report(0, self.job.total, self.job.text)
        return True

    def _follow(self, order: Order, turn: Turn) -> Done | None:
        def should_stop() -> bool:
            self._asked_to_stop = self._asked_to_stop or bool(self.wish) or turn.interrupted()
            return self._asked_to_stop

        events = distill(
            self._host,
            order.picture,
            order.tags,
            order.options,
            plan=order.plan,
            should_stop=should_stop,
            key=self.job.id,
            resume=order.resume,
        )
        with contextlib.closing(events):  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Done):
                    self._host.loras_changed()
                    return event
                self._note(event, turn)
                if self.wish == "discard":
                    break
        return None

    def _note(self, event: Event, turn: Turn) -> None:
        with self._changed:
            assert self._pace is not None
            self._pace.note(event)
            text = self.job.text
            self.job = replace(after(self.job, event), eta_s=self._pace.eta_s)
            if self.wish:
                self.job = replace(self.job, text=text)
            self._changed.notify_all()
        turn.report(self.job.step, self.job.total, self.job.text)
        if not isinstance(event, Step) or time.monotonic() - self._written_s > JOURNAL_EVERY_S:
            self._write()
        if isinstance(event, Saved | Sampled):
            self._host.loras_changed()

    def _set(self, state: str, text: str) -> None:
        with self._changed:
            if self.job.active:
                self.job = replace(self.job, state=state, text=text)
                self._changed.notify_all()

    def _write(self) -> None:
        self._written_s = time.monotonic()
        self._journaling(lambda: self._journal.write(self.job))

    def _journaling(self, write: Callable[[], None]) -> None:
        with self._journal_lock:  # so that a state never overwrites a later one
            if not self._journal_works:
                return
            try:
                write()
            except OutputError as error:
                _log.warning("No journal for %s: %s", self.job.id, error)
                self._journal_works = False
        if not self._journal_works:
            with self._changed:
                self.job = replace(self.job, notes=(*self.job.notes, NO_JOURNAL))


NO_JOURNAL = "This job's journal can't be written; training goes on without it."


def discarded(job: Job) -> Job:
    """The job without its files: its epochs, cards and pictures are deleted, and nothing else."""
    ours = [saved for saved in job.saved if saved.is_there]
    left = [path for saved in ours for path in _files(saved.path) if not _deleted(path)]
    text = "Discarded; its files are deleted."
    if left:
        text = f"Discarded, but these files can't be deleted: {', '.join(path.name for path in left)}."
    elif not ours:
        text = "Discarded; nothing was saved."
    return replace(job, state="discarded", text=text, saved=(), prompt="", eta_s=None)


def _files(lora: Path) -> Iterable[Path]:
    # Its name was unused before, in all of these endings.
    return (lora.with_name(lora.stem + ending) for ending in ENDINGS)


def _deleted(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def said(error: BaseException) -> tuple[str, str]:
    """What an error means to the person: message and hint."""
    if isinstance(error, DistillError):
        return error.message, error.hint
    _log.error("Distill broke", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        hint = "Retry with gradient checkpointing, a smaller batch, a lower rank or a smaller resolution."
        return "Out of memory. Your model is as it was.", hint
    return f"Unexpected error: {type(error).__name__}: {error}", "The log of the program has the details."


def free_memory() -> None:
    """Broken runs leave cycles that hold tensors."""
    gc.collect()
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
