"""A frozen ResNet block on a CPU: norm, SiLU and convolution are one function, which keeps the norm's input.

What is between the three is made anew on the way back, for less than it costs to keep.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from distill.training.lean.convolutions import Convolution, Room, is_frozen_on_cpu
from distill.training.lean.overriding import Overrides


def put(overrides: Overrides, unet: nn.Module, room: Room) -> None:
    """For each of the UNet's blocks that is one of SD1.5's."""
    for module in unet.modules():
        if is_plain(module) and module.time_emb_proj is not None:
            overrides.put(module, _computing(module, room))


def is_plain(module: Any) -> bool:
    """Whether it is one of SD1.5's blocks, of the UNet or the VAE, frozen and on a CPU."""
    return (
        type(module).__name__ == "ResnetBlock2D"
        and all(type(part) is nn.Conv2d and is_frozen_on_cpu(part) for part in (module.conv1, module.conv2))
        and all(type(part) is nn.GroupNorm and part.affine for part in (module.norm1, module.norm2))
        and not any(part.weight.requires_grad for part in (module.norm1, module.norm2))
        and isinstance(module.nonlinearity, nn.SiLU)
        and module.time_embedding_norm == "default"
        and not module.skip_time_act
        and module.upsample is module.downsample is None
        and module.dropout.p == 0
        and module.output_scale_factor == 1
    )


class _Normed(torch.autograd.Function):
    """(B, in, h, w) -> (B, out, h, w): the convolution of the norm's SiLU."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, norm: nn.GroupNorm, convolution: Convolution) -> torch.Tensor:
        y, mean, rstd = _normed(x, norm)
        ctx.norm, ctx.way = norm, convolution.way(x)
        ctx.save_for_backward(x, mean, rstd)
        y = F.silu(y, inplace=True)
        answer: torch.Tensor = ctx.way.forward(y)
        return answer

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        x, mean, rstd = ctx.saved_tensors
        norm, (batch, channels, height, width) = ctx.norm, x.shape
        gradient = ctx.way.backward(gradient, x.shape)
        gradient = torch.ops.aten.silu_backward(gradient, _normed(x, norm)[0])
        sizes = (batch, channels, height * width, norm.num_groups)
        backward = torch.ops.aten.native_group_norm_backward
        return backward(gradient, x, mean, rstd, norm.weight, *sizes, [True, False, False])[0], None, None


def _normed(x: torch.Tensor, norm: nn.GroupNorm) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    batch, channels, height, width = x.shape
    sizes = (batch, channels, height * width, norm.num_groups, norm.eps)
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = torch.native_group_norm(x, norm.weight, norm.bias, *sizes)
    return found


def _computing(module: Any, room: Room) -> Any:
    before, first, second = module.forward, Convolution(module.conv1, room), Convolution(module.conv2, room)

    def forward(input_tensor: torch.Tensor, temb: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or input_tensor.dtype != torch.float32:
            return before(input_tensor, temb, *args, **kwargs)
        x = input_tensor.contiguous()
        inner: torch.Tensor = _Normed.apply(x, module.norm1, first)  # type: ignore[no-untyped-call]
        inner = inner + module.time_emb_proj(F.silu(temb))[:, :, None, None]
        inner = _Normed.apply(inner, module.norm2, second)  # type: ignore[no-untyped-call]
        return inner + (x if module.conv_shortcut is None else module.conv_shortcut(x))

    return forward
