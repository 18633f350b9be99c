"""The pocket UNet and text encoder: SD1.5's topology, narrow."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

Unet = Any  # diffusers.UNet2DConditionModel, whose methods type checkers do not see
TextEncoder = Any  # transformers.CLIPTextModel
Tokenizer = Any  # transformers.CLIPTokenizer

WIDTH = 128
TOKENIZER_FOLDER = Path(__file__).resolve().parent.parent / "tokenizer"

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (64, 128, 128, 128),
    "layers_per_block": 2,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,  # diffusers' name for SD1.5's eight heads
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}

TEXT_CONFIG: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": WIDTH,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}


def build_unet() -> Unet:
    """The UNet, 13 M parameters, with plain attention (the fused one is slow on CPUs for 8-wide heads)."""
    unet: Unet = UNet2DConditionModel(**UNET_CONFIG)  # type: ignore[no-untyped-call]
    unet.set_attn_processor(AttnProcessor())
    return unet


def build_text_encoder() -> TextEncoder:
    """The text encoder, 7 M parameters, most of them CLIP's vocabulary."""
    return CLIPTextModel(CLIPTextConfig(**TEXT_CONFIG))


@cache
def load_tokenizer() -> Tokenizer:
    """CLIP's tokenizer, padded with <|endoftext|> as in SD1.5."""
    return CLIPTokenizer.from_pretrained(str(TOKENIZER_FOLDER))


def write_text_config() -> None:
    """Write CLIP's config beside the tokenizer, where LDM's loader looks for both."""
    config = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **TEXT_CONFIG}
    (TOKENIZER_FOLDER / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
