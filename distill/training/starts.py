"""The first values of a fresh layer, drawn from the generator; together they change nothing yet.

The same distributions as kohya's, LyCORIS' and peft's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

Tensors = Mapping[str, nn.Parameter]


def _lora(tensors: Tensors, generator: torch.Generator) -> None:
    _kaiming(tensors["lora_down.weight"], generator)
    tensors["lora_up.weight"].data.zero_()


def _loha(tensors: Tensors, generator: torch.Generator) -> None:
    for name, deviation in (("hada_w1_a", 0.1), ("hada_w1_b", 1.0), ("hada_w2_b", 1.0)):
        drawn = torch.randn(tensors[name].shape, generator=generator) * deviation
        tensors[name].data.copy_(drawn)
    tensors["hada_w2_a"].data.zero_()


def _lokr(tensors: Tensors, generator: torch.Generator) -> None:
    for name, tensor in tensors.items():
        if name in ("lokr_w1", "lokr_w1_a"):
            tensor.data.zero_()
        else:
            _kaiming(tensor, generator)


def _kaiming(tensor: nn.Parameter, generator: torch.Generator) -> None:
    """kaiming_uniform(a=sqrt(5)), which is U(-1/sqrt(in), 1/sqrt(in))."""
    bound = 1 / math.sqrt(tensor[0].numel())
    tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (2 * bound) - bound)


FORMS: dict[str, Callable[[Tensors, torch.Generator], None]] = {"lora": _lora, "loha": _loha, "lokr": _lokr}
