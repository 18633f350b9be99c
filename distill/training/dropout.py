"""Parts of a LoRA left out by chance in each step, as kohya's `networks.lora` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from distill.options import NetworkOptions
from distill.training.adapter import Adapter


class Dropout:
    """The chances of one training; `begin` draws anew for the next step."""

    def __init__(self, options: NetworkOptions) -> None:
        self._options = options
        self._seed = 0

    @property
    def is_on(self) -> bool:
        """Whether anything is left out at all."""
        options = self._options
        return any((options.network_dropout, options.rank_dropout, options.module_dropout))

    def begin(self, generator: torch.Generator) -> None:
        """For the next step. One number, so that a layer that is computed twice leaves out the same."""
        if self.is_on:
            self._seed = int(torch.randint(2**40, (1,), generator=generator))

    @contextmanager
    def on(self, adapters: Sequence[Adapter]) -> Iterator[None]:
        """Active for the length of a with block."""
        layers = [layer for adapter in adapters if adapter.form == "lora" for layer in adapter.layers.values()]
        with ExitStack() as stack:
            for place, layer in enumerate(layers if self.is_on else ()):
                for down in layer.lora_A.values():
                    stack.callback(down.register_forward_hook(self._hook(place)).remove)
            yield

    def _hook(self, place: int) -> Any:
        def hook(_: Any, inputs: Any, inner: torch.Tensor) -> torch.Tensor:
            return inner * self._mask(inner, place).to(inner)

        return hook

    def _mask(self, inner: torch.Tensor, place: int) -> torch.Tensor:
        """For a layer's inner values (B, ..., rank) or (B, rank, h, w): 0 where left out, the rest scaled up."""
        options, drawn = self._options, torch.Generator().manual_seed(self._seed + place)
        if float(torch.rand(1, generator=drawn)) < options.module_dropout:
            return torch.zeros(1)
        mask = torch.ones(1)
        if options.network_dropout:
            kept = torch.rand(inner.shape, generator=drawn) >= options.network_dropout
            mask = kept / (1 - options.network_dropout)
        if options.rank_dropout:
            rank_at = 1 if inner.ndim == 4 else inner.ndim - 1
            shape = [inner.shape[0], *(inner.shape[i] if i == rank_at else 1 for i in range(1, inner.ndim))]
            ranks = torch.rand(shape, generator=drawn) > options.rank_dropout
            mask = mask * ranks / (1 - options.rank_dropout)
        return mask
