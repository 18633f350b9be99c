"""The one thread that does what is ordered, one after the other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque

from distill.errors import JobError
from distill.host import Host
from distill.jobs.running import Ticket, free_memory

IDLE_S = 60.0  # how long the thread waits for the next job before it ends


class Line:
    """Tickets that wait; `changed` is told when one comes."""

    def __init__(self, host: Host, changed: threading.Condition) -> None:
        self._host, self._changed = host, changed
        self._waiting: deque[Ticket] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, ticket: Ticket) -> None:
        """To be done after those before. Raises JobError once it is closed."""
        with self._changed:
            if self._closed:
                raise JobError("No more jobs are taken.", "The program is about to end.")
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="distill-jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> threading.Thread | None:
        """Take no more; the thread to wait for, if one is at work."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._thread

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            try:
                self._do(ticket)
            except BaseException as error:  # noqa: BLE001 - whatever a job does, the next one gets its turn
                with contextlib.suppress(BaseException):  # the host is told of the end, and may break once more
                    ticket.fail(error)
            ticket.order = None
            del ticket
            free_memory()

    def _next(self) -> Ticket | None:
        with self._changed:
            until = time.monotonic() + IDLE_S
            while not self._waiting:
                left_s = until - time.monotonic()
                if self._closed or left_s <= 0:
                    self._thread = None
                    return None
                self._changed.wait(left_s)
            return self._waiting.popleft()

    def _do(self, ticket: Ticket) -> None:
        if not ticket.job.active:
            return
        ticket.wait()
        options = ticket.job.options
        name = options.output.name or options.caption.trigger or "a LoRA"
        with self._host.turn(ticket.job.id, f"Distill: {name}") as turn:
            ending = ticket.run(turn)
        if ending is not None:
            ticket.end(ending)
