"""A gated feed-forward whose second layer has a LoRA: gate and layer are one function, which keeps the first's output.

The gated values, half as many again, are made anew on the way back.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from distill.training.lean.layers import LoraLayer, backward_of, forward_of
from distill.training.lean.overriding import Overrides


def put(overrides: Overrides, unet: nn.Module, layers: dict[str, LoraLayer]) -> None:
    """For each of the UNet's feed-forwards that is one of SD1.5's."""
    for path, module in unet.named_modules():
        last = layers.get(f"{path}.net.2")
        if last is not None and _is_plain(module):
            overrides.put(module, _feeding(module, last))


def _is_plain(module: Any) -> bool:
    """Whether it is GEGLU, a dropout that is off, and the layer."""
    net = module.net
    return len(net) == 3 and type(net[0]).__name__ == "GEGLU" and isinstance(net[1], nn.Dropout) and net[1].p == 0


class _Gated(torch.autograd.Function):
    """(..., 2 n) -> (..., out): the first half by the second one's GELU, then the layer."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: LoraLayer, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        down, up = (factor.to(layer.dtype).flatten(1) for factor in (down, up))
        ctx.layer, ctx.factors = layer, (down, up)
        ctx.save_for_backward(x)
        tokens = _gated(x).flatten(0, -2).to(layer.dtype)
        return forward_of(layer, tokens, down, up).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        (x,), (down, up) = ctx.saved_tensors, ctx.factors
        value, gate = x.chunk(2, dim=-1)
        opened = F.gelu(gate)
        tokens = (value * opened).flatten(0, -2).to(ctx.layer.dtype)
        into, of_down, of_up = backward_of(ctx.layer, tokens, down, up, gradient, None, ctx.needs_input_grad[0])
        if into is None:
            return None, None, of_down, of_up
        into = into.view(value.shape).to(x.dtype)
        of_x = torch.empty_like(x)
        of_value, of_gate = of_x.chunk(2, dim=-1)
        torch.mul(into, opened, out=of_value)
        of_gate.copy_(torch.ops.aten.gelu_backward(into.mul_(value), gate))
        return of_x, None, of_down, of_up


def _gated(x: torch.Tensor) -> torch.Tensor:
    value, gate = x.chunk(2, dim=-1)
    return F.gelu(gate).mul_(value)


def _feeding(module: Any, last: LoraLayer) -> Any:
    before, first = module.forward, module.net[0].proj

    def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not last.plain:
            return before(hidden_states, *args, **kwargs)
        return _Gated.apply(first(hidden_states), last, last.down, last.up)  # type: ignore[no-untyped-call]

    return forward
