"""What is done to the weights of a LoRA beside the optimizer's steps: a running mean, and a limit to their norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from distill.training.adapter import Adapter


class Average:
    """A running mean of the weights (EMA), which is what is saved; young ones forget their start sooner."""

    def __init__(self, adapters: Sequence[Adapter], decay: float) -> None:
        self._decay, self.count = decay, 0
        self._weights = [p for adapter in adapters for p in adapter.parameters()]
        self.means = [w.detach().clone() for w in self._weights] if decay else []

    def update(self) -> None:
        """After a step."""
        self.count += 1
        decay = min(self._decay, (1 + self.count) / (10 + self.count))
        for mean, weight in zip(self.means, self._weights):
            mean.lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """The layers have the mean for the length of a with block."""
        kept = [w.detach().clone() for w in self._weights] if self.means else []
        try:
            for mean, weight in zip(self.means, self._weights):
                weight.data.copy_(mean)
            yield
        finally:
            for old, weight in zip(kept, self._weights):
                weight.data.copy_(old)


@torch.no_grad()
def limit_norms(adapters: Sequence[Adapter], most: float) -> None:
    """Scale each LoRA layer down whose change of the weight has a Frobenius norm above `most` (kohya's max norm)."""
    for adapter in adapters:
        for path, target in adapter.targets.items():
            tensors = adapter.tensors(path)
            down, up = tensors["lora_down.weight"].flatten(1), tensors["lora_up.weight"].flatten(1)
            # |up down| without making the product: the trace of up'up down down'
            square = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
            norm = float(square.sqrt()) * target.alpha / target.rank
            if norm > most:
                for tensor in tensors.values():
                    tensor.mul_((most / norm) ** 0.5)
