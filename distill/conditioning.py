"""Prompts into the UNet's `encoder_hidden_states`, the same way for training and for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def tokenize(tokenizer: Any, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids (B, 77), cut off and padded as CLIP was trained: start, words, end, padding."""
    encoded = tokenizer(
        list(prompts),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    ids: torch.Tensor = encoded.input_ids
    return ids  # (B, 77)


def hidden_states(text_encoder: Any, input_ids: torch.Tensor, clip_skip: int = 1) -> torch.Tensor:
    """(B, 77) -> (B, 77, C). Clip skip 2 takes the last layer but one, normalized as A1111 and kohya do."""
    if clip_skip == 1:
        last: torch.Tensor = text_encoder(input_ids).last_hidden_state
        return last
    states = text_encoder(input_ids, output_hidden_states=True).hidden_states
    # transformers 5 has the layers directly on CLIPTextModel, older versions under `.text_model`.
    norm = getattr(text_encoder, "text_model", text_encoder).final_layer_norm
    normed: torch.Tensor = norm(states[-clip_skip])
    return normed
