"""A gated feed-forward whose second layer has a LoRA: gate and layer are one function, which keeps the first's output.

The gated values, half as many again, are made anew on the way back. On a CPU, where the first layer has a LoRA, too,
and puts out more than memory is kept for, all three are one function, computed in blocks of tokens, which keeps its
input: to ask the system for such memory in each step takes as long as the first product once more, and 0.3 GB.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from distill.training.lean.layers import LoraLayer, backward_of, forward_of
from distill.training.lean.overriding import Overrides

LARGE = 2**25
"""Bytes of the first layer's output; from here on the C library gives memory back to the system each time."""
BLOCK = 512
"""Tokens at once; their 2 n numbers take 5 to 20 MB with SD1.5's layers."""


def put(overrides: Overrides, unet: nn.Module, layers: dict[str, LoraLayer]) -> None:
    """For each of the UNet's feed-forwards that is one of SD1.5's."""
    for path, module in unet.named_modules():
        last = layers.get(f"{path}.net.2")
        if last is not None and _is_plain(module):
            overrides.put(module, _feeding(module, layers.get(f"{path}.net.0.proj"), last))


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
        return _ungated(into.view(value.shape).to(x.dtype), value, gate, opened), None, of_down, of_up


def _gated(x: torch.Tensor) -> torch.Tensor:
    value, gate = x.chunk(2, dim=-1)
    return F.gelu(gate).mul_(value)


def _ungated(into: torch.Tensor, value: torch.Tensor, gate: torch.Tensor, opened: torch.Tensor) -> torch.Tensor:
    """The gradient of x from that of `_gated(x)`, which is not to be read afterwards."""
    of_x = into.new_empty(*into.shape[:-1], 2 * into.shape[-1])
    of_value, of_gate = of_x.chunk(2, dim=-1)
    torch.mul(into, opened, out=of_value)
    of_gate.copy_(torch.ops.aten.gelu_backward(into.mul_(value), gate))
    return of_x


class _Fed(torch.autograd.Function):
    """(T, in) -> (T, out): the first layer, the gate, the second layer; factors are downs and ups of both."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, first: LoraLayer, last: LoraLayer, *factors: torch.Tensor) -> torch.Tensor:
        ctx.layers, ctx.factors = (first, last), tuple(factor.flatten(1) for factor in factors)
        ctx.save_for_backward(x)
        answer = x.new_empty(len(x), last.weight.shape[0])
        for rows in _blocks(x):
            gated = _gated(forward_of(first, x[rows], *ctx.factors[:2]))
            answer[rows] = forward_of(last, gated, *ctx.factors[2:])
        return answer

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        (x,), (first, last) = ctx.saved_tensors, ctx.layers
        down, up, last_down, last_up = ctx.factors
        sums = [torch.zeros_like(factor) for factor in (first.down, first.up, last.down, last.up)]
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for rows in _blocks(x):
            value, gate = forward_of(first, x[rows], down, up).chunk(2, dim=-1)
            opened = F.gelu(gate)
            into, *of_last = backward_of(last, value * opened, last_down, last_up, gradient[rows], None, True)
            assert into is not None
            inner = _ungated(into, value, gate, opened)
            into, *of_first = backward_of(first, x[rows], down, up, inner, None, of_x is not None)
            for total, part in zip(sums, (*of_first, *of_last)):
                total += part
            if of_x is not None and into is not None:
                of_x[rows] = into
        return of_x, None, None, *sums


def _blocks(x: torch.Tensor) -> list[slice]:
    return [slice(at, at + BLOCK) for at in range(0, len(x), BLOCK)]


def _feeding(module: Any, first: LoraLayer | None, last: LoraLayer) -> Any:
    before, project = module.forward, module.net[0].proj

    def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not last.plain:
            return before(hidden_states, *args, **kwargs)
        if first is not None and first.plain and _is_large(hidden_states, first):
            x, factors = hidden_states.flatten(0, -2), (first.down, first.up, last.down, last.up)
            y: torch.Tensor = _Fed.apply(x, first, last, *factors)  # type: ignore[no-untyped-call]
            return y.view(*hidden_states.shape[:-1], -1)
        return _Gated.apply(project(hidden_states), last, last.down, last.up)  # type: ignore[no-untyped-call]

    return forward


def _is_large(x: torch.Tensor, first: LoraLayer) -> bool:
    size = x.numel() // x.shape[-1] * first.weight.shape[0] * x.element_size()
    return x.device.type == "cpu" and x.dtype == first.dtype == torch.float32 and size >= LARGE
