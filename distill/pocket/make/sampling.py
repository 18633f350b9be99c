"""Draws pictures from captions with the pocket networks, to see how training goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image

from distill.pocket.make.networks import TextEncoder, Unet, load_tokenizer
from distill.pocket.make.pictures import to_images
from distill.pocket.make.vae import SCALE_FACTOR, Vae


def build_scheduler(steps: int) -> Any:
    """SD1.5's schedule as A1111 samples it with DDIM."""
    scheduler: Any = DDIMScheduler(  # type: ignore[no-untyped-call]
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(steps)
    return scheduler


def encode(text_encoder: TextEncoder, prompts: Sequence[str]) -> torch.Tensor:
    """Prompts -> (B, 77, width)."""
    ids = load_tokenizer()(list(prompts), padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    states: torch.Tensor = text_encoder(ids["input_ids"]).last_hidden_state
    return states


@torch.no_grad()
def draw(
    networks: tuple[Unet, TextEncoder, Vae],
    prompts: Sequence[str],
    seed: int,
    *,
    steps: int = 25,
    cfg_scale: float = 5.0,
    batch: int = 16,
) -> list[Image.Image]:
    """One 128 px picture per prompt, with the empty prompt as the negative one."""
    unet, text_encoder, vae = networks
    generator = torch.Generator().manual_seed(seed)
    images: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        chunk = prompts[start : start + batch]
        states = torch.cat([encode(text_encoder, [""] * len(chunk)), encode(text_encoder, chunk)])
        latents = torch.randn(len(chunk), 4, 16, 16, generator=generator)
        scheduler = build_scheduler(steps)
        for t in scheduler.timesteps:
            empty, named = unet(torch.cat([latents, latents]), t, states).sample.chunk(2)
            latents = scheduler.step(empty + cfg_scale * (named - empty), t, latents).prev_sample
        images += to_images(vae.decode(latents / SCALE_FACTOR).sample)
    return images
