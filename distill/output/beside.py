"""One piece of writing at a time, done by a thread while the training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Beside(Generic[Result]):
    """A thread for one work at a time. What a work needs must be its own: nobody may change it any more."""

    def __init__(self) -> None:
        self._work: Future[Result] | None = None

    def begin(self, work: Callable[[], Result]) -> None:
        """Let a thread do `work`; the one before must have been taken by `end`."""
        assert self._work is None, "what came of the work before was never asked for"
        pool = ThreadPoolExecutor(1, thread_name_prefix="distill-writer")
        self._work = pool.submit(work)
        pool.shutdown(wait=False)  # the thread ends with its work

    def end(self) -> Result | None:
        """Wait until the work is done. What came of it, once; None if there is none. Raises what it raised."""
        work, self._work = self._work, None
        return None if work is None else work.result()
