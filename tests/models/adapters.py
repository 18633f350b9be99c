"""LoRAs of random numbers that fit a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from distill.host import Models
from distill.output.lora_file import Lora, kohya_name
from distill.output.lora_layers import LoraLayer

PLACES = ("attn", "ff.net", "mlp.fc", "proj_in", "conv1", "time_emb_proj")


def random_lora(
    models: Models,
    *,
    rank: int = 4,
    alpha: float = 2.0,
    seed: int = 0,
    places: tuple[str, ...] = PLACES,
    **metadata: str,
) -> Lora:
    """One layer for each Linear and Conv2d of UNet and text encoder whose path has one of `places` in it."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for part, root in (("unet", models.unet), ("text_encoder", models.text_encoder)):
        for path, module in root.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and any(place in path for place in places):
                layers[kohya_name(part, path)] = layer_for(module, rank, alpha, generator)
    return Lora(layers, {"ss_output_name": "random", **metadata})


def layer_for(module: Any, rank: int, alpha: float, generator: torch.Generator) -> LoraLayer:
    """Random numbers of the size that trained LoRAs have, exact in half precision."""
    out, rest = module.weight.shape[0], module.weight.shape[1:]
    ones = (1,) * (len(rest) - 1)
    down, up = (torch.randn(shape, generator=generator) * 0.05 for shape in ((rank, *rest), (out, rank, *ones)))
    return LoraLayer(down.half().float(), up.half().float(), alpha)
