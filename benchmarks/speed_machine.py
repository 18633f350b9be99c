"""Which machine a process of the benchmark runs on, and how much of its memory it took."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch

GB = 1e9


def peaks_gb() -> dict[str, float | None]:
    """The most memory that this process has had at once, and of a GPU what torch has; None without one."""
    gpu_gb = torch.cuda.max_memory_allocated() / GB if torch.cuda.is_available() else None
    return {"host_gb": _peak_host_gb(), "gpu_gb": gpu_gb}


def _peak_host_gb() -> float:
    try:
        import resource
    except ImportError:
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / GB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GB


def about(device: torch.device) -> dict[str, Any]:
    """Which machine this is, and with which versions."""
    from importlib.metadata import version

    names = ("torch", "diffusers", "transformers", "peft", "accelerate")
    of = {name: version(name) for name in names}
    return {"machine": _machine(device), "threads": torch.get_num_threads(), "versions": of}


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    import platform

    return platform.processor() or platform.machine()
