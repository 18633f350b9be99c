"""A frozen norm in half precision, in and out of it: autocast would have it in float32, with casts on all sides.

Means and variances are float32 inside of torch's own kernels either way; only what comes out is rounded sooner, as it
would be on its way into the next layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from distill.training.lean.overriding import Overrides


def put(overrides: Overrides, unet: nn.Module, dtype: torch.dtype) -> None:
    """For each of the UNet's norms that has the `dtype` to compute in, where that is not float32."""
    for module in unet.modules() if dtype != torch.float32 else ():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dtype == dtype and not weight.requires_grad:
            if type(module) is nn.GroupNorm and module.bias is not None:
                overrides.put(module, _group_norm(module))
            elif type(module) is nn.LayerNorm and module.bias is not None:
                overrides.put(module, _layer_norm(module))


def _group_norm(norm: nn.GroupNorm) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:  # (B, C, ...)
        x = x.to(norm.weight.dtype).contiguous()
        sizes = (*x.shape[:2], math.prod(x.shape[2:]), norm.num_groups, norm.eps)
        with torch.autocast(x.device.type, enabled=False):
            return torch.native_group_norm(x, norm.weight, norm.bias, *sizes)[0]

    return forward


def _layer_norm(norm: nn.LayerNorm) -> Callable[[torch.Tensor], torch.Tensor]:
    shape = list(norm.normalized_shape)

    def forward(x: torch.Tensor) -> torch.Tensor:  # (..., C)
        with torch.autocast(x.device.type, enabled=False):
            return torch.native_layer_norm(x.to(norm.weight.dtype), shape, norm.weight, norm.bias, norm.eps)[0]

    return forward
