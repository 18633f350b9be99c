"""Memory of a process that is ours alone."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed() -> bool:
    """Let the process keep what it frees, for its next step -> whether this system can be told so.

    glibc gives memory back to the system and asks for it again many times in each step, which costs 2-5 % of one on a
    CPU; encoding 512 px took 3.6 s with it and 2.7 without. Not for a WebUI's process, nor for one that stays (A1111
    starts itself with TCMalloc, which keeps it anyway).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt  # returns 1 when it was done; malloc.h, mallopt(3)
    return bool(mallopt(_TRIM_THRESHOLD, -1) and mallopt(_MMAP_MAX, 0))
