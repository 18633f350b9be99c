"""A VAE's encoder on a CPU: frozen ResNet blocks in fewer passes over memory, wide convolutions by Winograd.

Nothing is learnt here and nothing kept: each block works in the memory that its norm and its convolution gave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from distill.training.lean import convolutions, resnets
from distill.training.lean.overriding import Overrides


@contextmanager
def lean_encoder(vae: Any) -> Iterator[None]:
    """`vae.encode` is cheaper inside, the same within rounding, for use without gradients."""
    with Overrides() as overrides:
        for module in vae.encoder.modules():
            if resnets.is_plain(module) and module.time_emb_proj is None:
                overrides.put(module, _computing(module))
        convolutions.put(overrides, vae.encoder, convolutions.Room())
        yield


def _computing(module: Any) -> Any:
    before = module.forward

    def forward(x: torch.Tensor, temb: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or temb is not None or torch.is_grad_enabled():
            return before(x, temb, *args, **kwargs)
        y = module.conv1(F.silu(module.norm1(x), inplace=True))
        y = module.conv2(F.silu(module.norm2(y), inplace=True))
        return y.add_(x if module.conv_shortcut is None else module.conv_shortcut(x))

    return forward
