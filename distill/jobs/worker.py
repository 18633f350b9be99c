"""The queue and its one thread."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image

from distill.captions.portrait import Description
from distill.errors import CheckpointError, JobError, OutputError
from distill.host import Host
from distill.image.cuts import expected
from distill.jobs import costs, going_on
from distill.jobs.ahead import Ahead
from distill.jobs.captioners import Captioners
from distill.jobs.captioning import Captioning
from distill.jobs.grounding import Words
from distill.jobs.job import Job, Order
from distill.jobs.journal import KEPT, Journal
from distill.jobs.line import Line
from distill.jobs.ordering import check_order
from distill.jobs.residue import Searches
from distill.jobs.running import Ticket, discarded
from distill.options import CaptionOptions, Options
from distill.output.atomic import check_writable
from distill.plan import Plan

_log = logging.getLogger(__name__)


class Jobs:
    """All trainings of this process, one after the other, and what the journals tell of earlier ones."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._changed = threading.Condition(threading.RLock())
        self._tickets: dict[str, Ticket] = {}  # in the order of submission
        self._line = Line(host, self._changed)
        self._dismissed: set[str] = set()
        self.captioning = Captioning(host, self._is_busy)
        self.captioners = Captioners(host)
        self.ahead = Ahead(host, self._is_busy)
        self.words = Words(host, self._is_busy)
        self.residue = Searches(host, self._is_busy)

    def submit(self, order: Order) -> Job:
        """Queue a training. Raises DistillError for all that can be told at once; then nothing was begun."""
        loaded = self.host.loaded()
        if loaded.problem:
            raise CheckpointError(loaded.problem)
        check_order(order, self.host, loaded.name)
        check_writable(self.host.lora_dir)
        job = Job(
            id=f"distill-{secrets.token_hex(6)}",
            text="Waits for the job before it." if self._is_busy() else "Begins.",
            checkpoint=loaded.name,
            total=order.options.steps_of(expected(order.plan.counted(order.options.train), order.options.picture) or 1),
            tags=order.tags or (),
            given=order.tags or (),
            notes=order.notes,
            created_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            options=order.options,
        )
        order = replace(order, picture=order.picture.copy())  # the caller may go on to draw on theirs
        return self._begin(job, order)

    def resume(self, job_id: str) -> Job:
        """Go on with a job whose process died, or that failed, after the last epoch that it has a state of.

        Raises JobError when that can't be, CheckpointError when another checkpoint is loaded.
        """
        with self._changed:
            job, loaded = self.get(job_id), self.host.loaded()
            order = going_on.order_of(self.host.work_dir, self._journal, job, loaded)
            check_writable(self.host.lora_dir)
            text = "Waits for the job before it." if self._is_busy() else "Goes on."
            job = replace(job, state="queued", text=text, error="", hint="", given=order.tags or ())
            return self._begin(job, order)

    def can_resume(self, job: Job) -> bool:
        """Whether it has ended with a state to go on from."""
        return going_on.can_go_on(self.host.work_dir, job)

    def _begin(self, job: Job, order: Order) -> Job:
        ticket = Ticket(job, order, self.host, self._journal, self._changed)
        ticket.open_journal(order)
        self._enqueue(ticket)
        self.ahead.cancel()
        for other in (self.words, self.residue):
            other.cancel("Stopped: a training goes first.")
        return ticket.snapshot()

    def get(self, job_id: str) -> Job:
        """One job, of this process or an earlier one. Raises JobError."""
        with self._changed:
            if job_id in self._tickets:
                return self._tickets[job_id].snapshot()
        entry = self._journal.read(job_id)
        if entry is None:
            raise JobError(f"There is no job {job_id[:64]!r}.", "It may be one of the old ones, which are forgotten.")
        return entry.ended or entry.job

    def all(self) -> tuple[Job, ...]:
        """Newest first; ended ones of other processes included, at most 50."""
        with self._changed:
            here = {job_id: ticket.snapshot() for job_id, ticket in self._tickets.items()}
        ended = (entry.ended for entry in self._journal.entries() if entry.job.id not in here)
        jobs = [*here.values(), *(job for job in ended if job)]
        return tuple(sorted(jobs, key=lambda job: job.created_at, reverse=True)[:KEPT])

    def latest(self) -> Job | None:
        """The one at work, else the newest of this process."""
        with self._changed:
            tickets = list(self._tickets.values())
            active = [ticket for ticket in tickets if ticket.job.active]
            ticket = active[0] if active else tickets[-1] if tickets else None
            return ticket.snapshot() if ticket else None

    def stop(self, job_id: str) -> Job:
        """End it and keep what is trained; a job that has ended stays as it is. Raises JobError."""
        return self._ask(job_id, "stop")

    def discard(self, job_id: str) -> Job:
        """End it, if it has not ended, and delete the files that it made. Raises JobError."""
        job = self._ask(job_id, "discard")
        if job.active or job.state == "discarded":
            return job
        job = discarded(job)
        going_on.forget(self.host.work_dir, self._journal, job_id)
        with self._changed:
            if job_id in self._tickets:
                self._tickets[job_id].job = job
                self._changed.notify_all()
        self._note(job)
        self.host.loras_changed()
        return job

    def wait(self, job_id: str, timeout_s: float) -> Job:
        """The job when it has ended, or as it is after `timeout_s`. Raises JobError."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while (job := self.get(job_id)).active and (left_s := until - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return job

    def picture(self, job_id: str) -> Path | None:
        """The picture that was given, as PNG; None when it is not kept."""
        return self._journal.picture(job_id)

    def order(self, job_id: str) -> Order | None:
        """What was ordered, as long as it is at work in this process."""
        with self._changed:
            ticket = self._tickets.get(job_id)
            return ticket.order if ticket else None

    def cut_off(self) -> tuple[Job, ...]:
        """Jobs whose process died before they ended, or that can go on, and that were not dismissed, newest first."""
        entries = [entry for entry in self._journal.entries() if not entry.dismissed]
        jobs = (entry.ended for entry in entries if entry.job.id not in self._dismissed)
        return tuple(job for job in jobs if job and (job.state == "cut_off" or self.can_resume(job)))

    def dismiss(self, job_id: str) -> None:
        """Don't tell of it any more, nor go on with it; LoRAs that it made stay. Raises JobError."""
        job = self.get(job_id)
        if job.active:
            return
        self._dismissed.add(job_id)
        going_on.forget(self.host.work_dir, self._journal, job_id)
        if job.state == "cut_off":
            self._note(job, dismissed=True)

    def cost(self, options: Options, plan: Plan = Plan()) -> str:  # noqa: B008 - it is frozen
        """One line: how long a job with these options takes, as measured here, or that it isn't measured yet."""
        loaded = self.host.loaded()
        setting = costs.setting_of(options, loaded.name, loaded.native_px)
        pictures = expected(plan.counted(options.train), options.picture)
        return costs.sentence(options, setting, costs.read(self.host.work_dir), pictures)

    def caption(self, picture: Image.Image, options: CaptionOptions, key: str = "") -> Description:
        """What captioners see in a picture; `key` is the endpoint's. Raises DistillError."""
        return self.captioning.describe(picture, options, key)

    def stop_captioning(self) -> None:
        """End the description that is being made, if one is."""
        self.captioning.stop()

    def close(self) -> None:
        """Take no more jobs; the one at work is stopped and kept, the waiting ones are ended."""
        with self._changed:
            thread = self._line.close()
            for ticket in self._tickets.values():
                ticket.ask("stop")
        self.captioning.stop()
        self.ahead.close()
        self.words.close()
        self.residue.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=60)

    @property
    def _journal(self) -> Journal:
        return Journal(self.host.work_dir / "jobs")

    def _is_busy(self) -> bool:
        with self._changed:
            return any(ticket.job.active for ticket in self._tickets.values())

    def _ask(self, job_id: str, wish: str) -> Job:
        job = self.get(job_id)
        with self._changed:
            ticket = self._tickets.get(job_id)
        if ticket is not None:
            ticket.ask(wish)
            return ticket.snapshot()
        if job.active:
            raise JobError("This job belongs to another running program.", "Stop it there.")
        return job

    def _note(self, job: Job, *, dismissed: bool = False) -> None:
        try:
            self._journal.write(job, dismissed=dismissed)
        except OutputError as error:
            _log.warning("No journal for %s: %s", job.id, error)

    def _enqueue(self, ticket: Ticket) -> None:
        with self._changed:
            self._line.add(ticket)
            self._tickets.pop(ticket.job.id, None)  # it goes to the end, as the newest
            self._tickets[ticket.job.id] = ticket
            ended = [job_id for job_id, known in self._tickets.items() if not known.job.active]
            for job_id in ended[: max(0, len(self._tickets) - KEPT)]:
                del self._tickets[job_id]
