"""A frozen layer and its LoRA as one function, which keeps its input for the backward pass and nothing else.

peft runs three layers, a product with the scale, a sum and some casts; autograd keeps what each of them saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from distill.training.adapter import Adapter
from distill.training.lean.overriding import Overrides
from distill.training.lean.products import Products, chosen

SMALL = 2**19
"""Multiplications that cost no more than the call of a further operation does."""


@dataclass(frozen=True)
class LoraLayer:
    """A linear layer (or a convolution of 1 x 1) with its LoRA: x W' + b + scale * x A' B'."""

    peft: Any  # the layer that it stands for
    weight: torch.Tensor  # (out, in, ...)
    bias: torch.Tensor | None  # (out,)
    down: nn.Parameter  # A (rank, in, ...)
    up: nn.Parameter  # B (out, rank, ...)
    scale: float
    dtype: torch.dtype  # to compute in
    by: Products

    @property
    def plain(self) -> bool:
        """Whether it is now to be computed as itself: switched on, and nobody listens."""
        peft = self.peft
        return not (peft._disable_adapters or peft._forward_hooks or peft._forward_pre_hooks)

    def merges(self, tokens: int) -> bool:
        """Whether W + scale * B A, made anew in each pass, costs less than two thin products for each token.

        In multiplications, forward and backward, times what both have in common. In half precision it would round
        the LoRA away.
        """
        rank, size = self.down.shape[0], self.weight.numel()
        apart = 7 * tokens * rank * (self.weight.shape[0] + self.weight.shape[1]) // 2
        merged = tokens * size + 4 * rank * size
        return self.dtype == torch.float32 and (merged < apart or rank * size < SMALL)


class _Lora(torch.autograd.Function):
    """Some layers on one input (..., in): a tuple of their outputs (..., out)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layers: tuple[LoraLayer, ...], *factors: torch.Tensor) -> Any:
        tokens = layers[0].by.laid(x.reshape(-1, x.shape[-1]))  # (T, in)
        factors = tuple(factor.to(layers[i // 2].dtype).flatten(1) for i, factor in enumerate(factors))
        ctx.layers, ctx.factors = layers, factors  # not saved: the budget takes what is for growing with the picture
        ctx.save_for_backward(tokens)
        pairs = zip(layers, factors[::2], factors[1::2])
        return tuple(forward_of(layer, tokens, *pair).view(*x.shape[:-1], -1) for layer, *pair in pairs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # type: ignore[override]
        (tokens,), factors = ctx.saved_tensors, ctx.factors
        into: torch.Tensor | None = None  # the gradient of `tokens`
        found: list[torch.Tensor] = []
        for i, (layer, gradient) in enumerate(zip(ctx.layers, gradients)):
            down, up = factors[2 * i : 2 * i + 2]
            into, *of_factors = backward_of(layer, tokens, down, up, gradient, into, ctx.needs_input_grad[0])
            found += of_factors
        shape = (*gradients[0].shape[:-1], -1)
        return (None if into is None else into.view(shape), None, *found)


def forward_of(layer: LoraLayer, tokens: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """(T, in) -> (T, out); the factors (rank, in) and (out, rank) are the layer's own, of its `dtype`."""
    weight = layer.weight.flatten(1)
    if layer.merges(len(tokens)):
        return layer.by.linear(tokens, torch.addmm(weight, up, down, alpha=layer.scale), layer.bias)
    inner = layer.by.linear(tokens, down)
    return layer.by.linear(tokens, weight, layer.bias).addmm_(inner, up.t(), alpha=layer.scale)


def backward_of(
    layer: LoraLayer,
    tokens: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    gradient: torch.Tensor,
    into: torch.Tensor | None,
    wanted: bool,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Gradients of the tokens (T, in), added to `into` and only if `wanted`, and of the factors as the layer has them.

    Given are the factors as matrices of the layer's `dtype`.
    """
    weight = layer.weight.flatten(1)
    gradient = layer.by.laid(gradient.reshape(-1, gradient.shape[-1]))  # (T, out)
    # beta=0: the first one is not read, and the scale costs no operation of its own.
    if layer.merges(len(tokens)):
        of_inner = None
        of_weight = layer.by.product(gradient.t(), tokens)  # (out, in)
        of_down = torch.addmm(down, up.t(), of_weight, beta=0, alpha=layer.scale)
        of_up = torch.addmm(up, of_weight, down.t(), beta=0, alpha=layer.scale)
    else:
        inner = layer.by.linear(tokens, down)  # (T, rank), cheaper to compute again than to keep
        of_inner = layer.by.scaled(inner, gradient, up, layer.scale)  # (T, rank)
        of_down = layer.by.product(of_inner.t(), tokens)
        of_up = layer.by.scaled(up, gradient.t(), inner, layer.scale)
    if wanted:
        if of_inner is None:
            weight = torch.addmm(weight, up, down, alpha=layer.scale)
        into = layer.by.product(gradient, weight) if into is None else layer.by.added(into, gradient, weight)
        if of_inner is not None:
            into.addmm_(of_inner, down)
    return into, of_down.view_as(layer.down).to(layer.down.dtype), of_up.view_as(layer.up).to(layer.up.dtype)


def together(layers: tuple[LoraLayer, ...], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What `layers`, all of them of one `dtype`, make of one input (..., in)."""
    factors = [factor for layer in layers for factor in (layer.down, layer.up)]
    outputs: tuple[torch.Tensor, ...] = _Lora.apply(x.to(layers[0].dtype), layers, *factors)  # type: ignore[no-untyped-call]
    return outputs


def found(adapter: Adapter, dtype: torch.dtype) -> dict[str, LoraLayer]:
    """The layers of `adapter` that are linear, by their paths."""
    layers = {}
    for path, peft in adapter.layers.items():
        base, tensors = peft.get_base_layer(), adapter.tensors(path)
        target = adapter.targets[path]
        if _is_linear(base) and "forward" not in base.__dict__:
            down, up = tensors["lora_down.weight"], tensors["lora_up.weight"]
            scale, by = target.alpha / target.rank, chosen(base.weight, dtype)
            layers[path] = LoraLayer(peft, base.weight, base.bias, down, up, scale, dtype, by)
    return layers


def put(overrides: Overrides, layers: dict[str, LoraLayer]) -> None:
    """Let each of the layers compute itself."""
    for layer in layers.values():
        overrides.put(layer.peft, _pixelwise(layer) if layer.weight.ndim == 4 else _tokenwise(layer))


def _is_linear(base: nn.Module) -> bool:
    if isinstance(base, nn.Conv2d):
        plain = base.kernel_size == base.stride == (1, 1) and base.groups == 1 and base.padding in ((0, 0), 0)
        return plain and base.weight.is_floating_point()
    return isinstance(base, nn.Linear) and base.weight.is_floating_point()


def _tokenwise(layer: LoraLayer) -> Any:
    before = layer.peft.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or layer.peft._disable_adapters:
            return before(x, *args, **kwargs)
        return together((layer,), x)[0]

    return forward


def _pixelwise(layer: LoraLayer) -> Any:
    before = layer.peft.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # (B, in, h, w)
        if args or kwargs or layer.peft._disable_adapters:
            return before(x, *args, **kwargs)
        tokens = together((layer,), x.flatten(2).transpose(1, 2))[0]  # (B, h w, out)
        return tokens.transpose(1, 2).reshape(len(x), -1, *x.shape[2:])

    return forward
