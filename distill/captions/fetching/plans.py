"""What is noted beside a model that is fetched: its commit, its files, and whether all of it is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PLAN = "distill-model.json"
PART = ".part"  # after the name of a file that is not whole yet
LOCK = ".distill-lock"
MARGIN = 1.05  # of the bytes that are to come, to be free on the disk


def read_plan(folder: Path) -> dict[str, Any]:
    """name, repository, licence, revision (a commit), files ({name, size, sha256, git}), complete; {} if unreadable."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return plan if {"repository", "revision", "complete"} <= set(plan) and total_bytes(plan) else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def write_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Note it, whole or not at all. Raises OSError."""
    beside = folder / (PLAN + PART)
    beside.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    os.replace(beside, folder / PLAN)


def total_bytes(plan: dict[str, Any]) -> int:
    """Of all files."""
    return sum(entry["size"] for entry in plan["files"])


def fetched_bytes(folder: Path, plan: dict[str, Any]) -> int:
    """How much of it lies in the folder by now, unfinished files included."""
    return sum(
        min(size_of(folder / entry["name"]) or size_of(folder / (entry["name"] + PART)), entry["size"])
        for entry in plan["files"]
    )


def is_whole(folder: Path) -> bool:
    """Whether every file was checked after its download and still has its size."""
    plan = read_plan(folder)
    return bool(plan.get("complete")) and all(size_of(folder / e["name"]) == e["size"] for e in plan["files"])


def size_of(file: Path) -> int:
    """In bytes; 0 when there is no such file."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def mib(size: float) -> int:
    """Bytes as mebibytes, rounded up."""
    return int(-(-size // (1 << 20)))
