"""Attention whose queries, keys and values, where they come from one input, are one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from distill.training.lean.blocks import attended
from distill.training.lean.layers import LoraLayer, together
from distill.training.lean.overriding import Overrides


def put(overrides: Overrides, unet: nn.Module, layers: dict[str, LoraLayer]) -> None:
    """For each of the UNet's attentions of which queries, keys and values have a LoRA."""
    for path, module in unet.named_modules():
        parts = [layers.get(f"{path}.to_{letter}") for letter in "qkv"]
        if all(part is not None for part in parts) and _is_plain(module):
            overrides.put(module, _attending(module, *parts))  # type: ignore[arg-type]


def _is_plain(module: Any) -> bool:
    """Whether it is nothing but diffusers' `AttnProcessor2_0` does with SD1.5's attentions."""
    without = ("spatial_norm", "group_norm", "norm_q", "norm_k")
    return (
        type(module.processor).__name__ in ("AttnProcessor2_0", "AttnProcessor")
        and all(getattr(module, name, None) is None for name in without)
        and not module.norm_cross
        and not module.residual_connection
        and module.rescale_output_factor == 1
        and module.to_out[1].p == 0
    )


def _attending(module: Any, q: LoraLayer, k: LoraLayer, v: LoraLayer) -> Any:
    before, heads = module.forward, module.heads

    def forward(
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if attention_mask is not None or kwargs or not (q.plain and k.plain and v.plain):
            return before(hidden_states, encoder_hidden_states, attention_mask, **kwargs)
        if encoder_hidden_states is None:
            made = together((q, k, v), hidden_states)
        else:
            made = (*together((q,), hidden_states), *together((k, v), encoder_hidden_states))
        query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in made)  # (B, heads, T, in / heads)
        mixed = attended(query, key, value)
        return module.to_out[0](mixed.transpose(1, 2).flatten(2))

    return forward
