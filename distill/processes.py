"""Whether the process that works on something still runs, though its number may have been given again."""

from __future__ import annotations

import os
from functools import cache

SAME_START_S = 5  # clocks are set right while a process runs, so its start seems to move a little


def alive(pid: int, started_s: float) -> bool:
    """Whether the process with that number, begun at that Unix time, still runs."""
    return abs(started_at_s(pid) - started_s) < SAME_START_S


def started_at_s(pid: int) -> float:
    """When the process with that number began, as Unix time; negative when there is none."""
    import psutil

    if pid == os.getpid():
        return _own_start_s()
    try:
        process = psutil.Process(pid)
        return -1e9 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, ValueError, OverflowError):
        return -1e9


@cache
def _own_start_s() -> float:
    import psutil

    return float(psutil.Process().create_time())
