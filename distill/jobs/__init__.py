"""One worker for all training: a queue, the host's turn, what goes on now, and a journal that outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from distill.host import Host
from distill.jobs.job import Job, Order, SavedLora
from distill.jobs.worker import Jobs

__all__ = ["Job", "Jobs", "Order", "SavedLora", "shared_jobs"]

# A WebUI's "Reload UI" executes scripts/*.py again but keeps imported packages: what is noted here outlives it, and
# so a training goes on and the new page finds it.
_shared: Jobs | None = None
_making = threading.Lock()


def shared_jobs(make_host: Callable[[], Host]) -> Jobs:
    """The one `Jobs` of this process; `make_host` is asked the first time only."""
    global _shared
    with _making:
        if _shared is None:
            _shared = Jobs(make_host())
        return _shared
