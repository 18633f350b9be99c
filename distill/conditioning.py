"""What text encoder and VAE are given, the same way for training and for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

CHUNK = 75
"""Tokens of a caption that CLIP reads at once, its start and end marks left out."""


def tokenize(tokenizer: Any, prompts: Sequence[str], length: int = CHUNK) -> torch.Tensor:
    """Token ids (B, length / 75, 77), cut off and padded as CLIP was trained: start, words, end, end for padding."""
    encoded = tokenizer(
        list(prompts), padding="max_length", truncation=True, max_length=length + 2, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids  # (B, length + 2)
    if length == CHUNK:
        return ids[:, None]
    start, end = ids[:, :1], ids[:, -1:]
    chunks = [torch.cat([start, ids[:, i : i + CHUNK], end], dim=1) for i in range(1, length, CHUNK)]
    return torch.stack(chunks, dim=1)


def hidden_states(text_encoder: Any, input_ids: torch.Tensor, clip_skip: int = 1) -> torch.Tensor:
    """(B, n, 77) -> (B, 75 n + 2, C): chunks are joined between the first start and the last end (kohya)."""
    count = input_ids.shape[1]
    states = _states(text_encoder, input_ids.reshape(-1, input_ids.shape[-1]), clip_skip)
    if count == 1:
        return states
    parts = states.reshape(-1, count, *states.shape[1:])  # (B, n, 77, C)
    return torch.cat([parts[:, 0, :1], *(parts[:, i, 1:-1] for i in range(count)), parts[:, -1, -1:]], dim=1)


def _states(text_encoder: Any, input_ids: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """(B, 77) -> (B, 77, C). Clip skip 2 takes the last layer but one, normalized as A1111 and kohya do."""
    if clip_skip == 1:
        last: torch.Tensor = text_encoder(input_ids).last_hidden_state
        return last
    states = text_encoder(input_ids, output_hidden_states=True).hidden_states
    # transformers 5 has the layers directly on CLIPTextModel, older versions under `.text_model`.
    norm = getattr(text_encoder, "text_model", text_encoder).final_layer_norm
    normed: torch.Tensor = norm(states[-clip_skip])
    return normed


def for_vae(vae: Any, x: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) as this VAE takes it: a WebUI may keep it in another precision than the UNet, and elsewhere.

    On a CPU each pixel's channels lie side by side. oneDNN then copies neither input nor output of a convolution:
    memory that would be asked of the system anew for each of them, at 512 px a fifth to a third of the time.
    """
    own = next(vae.parameters())
    x = x.to(own.device, own.dtype)
    return x.clone(memory_format=torch.channels_last) if x.device.type == "cpu" else x
