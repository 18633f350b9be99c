"""Tiny real models of SD1.5's shape with random weights: every part and every code path, a thousandth of the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from distill.host import Models

WIDTH = 64  # of the text encoder and of the UNet's cross-attention
NATIVE_PX = 64
VOCABULARY = 49408  # CLIP's, so that the bundled tokenizer fits
TOKENIZER = Path(__file__).resolve().parents[2] / "distill" / "pocket" / "tokenizer"


def unet(seed: int = 0, **changes: Any) -> Any:
    """A UNet of about 2 M parameters with SD1.5's four levels; predicts something other than zero."""
    config: dict[str, Any] = {
        "sample_size": NATIVE_PX // 8,
        "block_out_channels": (32, 64, 64, 64),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 8,
    }
    return _random(lambda: UNet2DConditionModel(**{**config, **changes}), seed)


def small_unet(seed: int = 0, **changes: Any) -> Any:
    """Attention in the middle only, so a tenth of the modules for a LoRA: for tests about something else."""
    down, up = ("DownBlock2D",) * 4, ("UpBlock2D",) * 4
    return unet(seed, **{"down_block_types": down, "up_block_types": up, **changes})


def outer_unet(seed: int = 0, **changes: Any) -> Any:
    """Attention in the outermost level and the middle: both ways to name a layer, with less than half of them."""
    down = ("CrossAttnDownBlock2D", *("DownBlock2D",) * 3)
    up = (*("UpBlock2D",) * 3, "CrossAttnUpBlock2D")
    return unet(seed, **{"down_block_types": down, "up_block_types": up, **changes})


def vae(seed: int = 1, **changes: Any) -> Any:
    """A VAE of SD1.5's shape: eight pixels to one latent, four channels."""
    config: dict[str, Any] = {
        "block_out_channels": (32, 32, 32, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "sample_size": NATIVE_PX,
    }
    return _random(lambda: AutoencoderKL(**{**config, **changes}), seed)


def text_encoder(seed: int = 2, **changes: Any) -> Any:
    """A CLIP text encoder with the real vocabulary."""
    config: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "projection_dim": WIDTH,
        "hidden_act": "quick_gelu",
    }
    return _random(lambda: CLIPTextModel(CLIPTextConfig(**{**config, **changes})), seed)


def tokenizer() -> Any:
    """CLIP's own, from the files that ship with Distill."""
    loaded = CLIPTokenizer.from_pretrained(str(TOKENIZER), local_files_only=True)
    loaded.model_max_length = 77
    return loaded


def alphas_cumprod() -> torch.Tensor:
    """SD1.5's noise schedule, (1000,)."""
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    return torch.cumprod(1 - roots**2, dim=0).float()


def models(**changes: Any) -> Models:
    """All parts together, as a host lends them; `changes` replace fields."""
    fields: dict[str, Any] = {
        "unet": unet(),
        "vae": vae(),
        "text_encoder": text_encoder(),
        "alphas_cumprod": alphas_cumprod(),
        "prediction_type": "epsilon",
        "latent_scale": 0.18215,
        "native_px": NATIVE_PX,
        "name": "tiny",
        "sha256": "",
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }
    fields.update(changes)
    if "tokenizer" not in fields:
        fields["tokenizer"] = tokenizer()
    return Models(**fields)


def small_models(**changes: Any) -> Models:
    """All parts together around the UNet with the fewest modules."""
    return models(**{"unet": small_unet(), **changes})


def _random(make: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make()
        for parameter in module.parameters():
            if parameter.detach().abs().max() == 0:  # zero-initialised layers would hide a wrong key
                torch.nn.init.normal_(parameter, std=0.02)
    return module.requires_grad_(False).eval()
