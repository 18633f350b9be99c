"""What can't run on this machine, and what takes its place: said before it is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from distill.options import TrainOptions


def runnable(options: TrainOptions, device: Any) -> tuple[TrainOptions, tuple[str, ...]]:
    """The options as they can run on `device` (a torch.device), and a note on each that had to change."""
    if options.optimizer != "adamw8bit":
        return options, ()
    reason = _without_8bit(str(getattr(device, "type", device)))
    if not reason:
        return options, ()
    # The same algorithm with the same rate; its states are float32 instead of 8 bits.
    return replace(options, optimizer="adamw"), (f"AdamW8bit can't run here ({reason}): AdamW takes its place.",)


def _without_8bit(device: str) -> str:
    """Why AdamW8bit can't run; "" where it can."""
    if device != "cuda":
        return f"it needs CUDA, and this is {device}"
    try:
        import bitsandbytes  # noqa: F401
    except Exception as error:  # noqa: BLE001 - it looks for CUDA while it is imported, and fails in many ways
        return f"bitsandbytes can't be used: {type(error).__name__}"
    return ""
