"""What every training stage shares: learning-rate curve, averaged weights, a state on disk to go on from."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch


def pick_device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then half a cosine down to one per cent."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to `factor` times its own peak, kept in the group as `peak_lr`."""
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor


class Average:
    """Exponential moving average of a module's parameters; forgets its start quickly."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: p.detach().clone().float() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Move towards the module's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in module.named_parameters():
            self.weights[name].lerp_(p.detach().float(), 1 - decay)

    def copy_to(self, module: torch.nn.Module) -> None:
        """Put the averaged weights into a module of the same shape."""
        module.load_state_dict(self.weights, strict=False)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""
        return {"updates": self.updates, "weights": self.weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.updates, self.weights = state["updates"], state["weights"]


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a stage's state whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    os.replace(beside, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """A stage's state, or None before its first save."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class Clock:
    """Says every so often that it is time to save or to report."""

    def __init__(self, every_s: float) -> None:
        self.every_s, self.last = every_s, time.monotonic()

    def due(self) -> bool:
        """True once per `every_s` seconds."""
        if time.monotonic() - self.last < self.every_s:
            return False
        self.last = time.monotonic()
        return True
