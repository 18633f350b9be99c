"""What a model file or folder is, in a few words, from its header."""

from __future__ import annotations

from pathlib import Path

from distill.errors import CheckpointError
from distill.hosts.kinds import kind_of
from distill.hosts.standalone import Standalone
from distill.hosts.tensor_file import TensorFile, open_header


def describe(path: Path) -> dict[str, str]:
    """What `path` is and its facts, ready to print. Raises CheckpointError when it is damaged or missing."""
    if path.is_dir():
        host = Standalone(path, lora_dir=path)
        host.check()
        return {"file": path.name, "kind": "an SD1.5 checkpoint (diffusers folder)", **_facts(host)}
    file = open_header(path)
    about = {"file": path.name, "kind": kind_of(file) or "an SD1.5 checkpoint", **_size(file)}
    if not kind_of(file):
        about |= _facts(Standalone(path, lora_dir=path.parent))
    return about | {name: _short(value) for name, value in sorted(file.metadata.items())}


def _size(file: TensorFile) -> dict[str, str]:
    numbers = sum(_count(entry.shape) for entry in file.entries.values())
    types = sorted({entry.dtype for entry in file.entries.values()})
    return {
        "tensors": f"{len(file.entries)} with {numbers / 1e6:.1f} million numbers ({', '.join(types)})",
        "size": f"{file.path.stat().st_size / 2**20:.1f} MiB",
    }


def _facts(host: Standalone) -> dict[str, str]:
    try:
        facts = host.facts()
    except CheckpointError as error:
        return {"config": str(error)}
    return {"prediction": facts.prediction_type, "native size": f"{facts.native_px} px"}


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _short(value: str, limit: int = 200) -> str:
    return value if len(value) <= limit else value[: limit - 1] + "…"
