"""Trains the pocket UNet on cached latents, with the pretrained text encoder as it is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from distill.pocket.make import captions as caption_ids
from distill.pocket.make import progress
from distill.pocket.make.networks import TextEncoder, Unet, build_unet
from distill.pocket.make.pictures import random_subject, to_tensor
from distill.pocket.make.vae import SCALE_FACTOR, Vae
from distill.pocket.world import tags

TIMESTEPS = 1000
AVERAGE_EVERY = 4


@dataclass(frozen=True, kw_only=True)
class UnetOptions:
    """How the UNet is trained."""

    steps: int = 3600
    batch: int = 16
    learning_rate: float = 8e-4
    average_decay: float = 0.99
    warmup: int = 200
    caption_dropout_rate: float = 0.1
    min_snr_gamma: float = 5.0
    renders: int = 20000
    compiled: bool = False
    seed: int = 4


def alphas_cumprod() -> torch.Tensor:
    """SD1.5's schedule: betas linear in the square root from .00085 to .012, (1000,)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


@torch.no_grad()
def cache_latents(path: Path, vae: Vae, options: UnetOptions) -> None:
    """Write scaled latents (N, 4, 16, 16) and captions of random subjects, none with a kept-out attribute."""
    if path.exists():
        return
    rng = random.Random(f"unet {options.seed}")
    latents, captions, images = [], [], []
    for i in range(options.renders):
        attributes, image = random_subject(rng, 0.0)
        captions.append(tags(attributes))
        images.append(image)
        if len(images) == 32 or i + 1 == options.renders:
            latents.append(vae.encode(to_tensor(images)).latent_dist.mean * SCALE_FACTOR)
            images = []
    progress.save_state(path, {"latents": torch.cat(latents), "captions": captions})


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """Timesteps that lean to the middle: half of them uniform, half logit-normal around 500."""
    uniform = torch.rand(count, generator=generator)
    middle = torch.sigmoid(torch.randn(count, generator=generator))
    chosen = torch.where(torch.arange(count) % 2 == 0, uniform, middle)
    return (chosen * TIMESTEPS).long().clamp(0, TIMESTEPS - 1)


def draw_batch(cached: dict[str, Any], rng: random.Random, options: UnetOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (B, 4, 16, 16) and token ids (B, tokens)."""
    rows = [rng.randrange(len(cached["captions"])) for _ in range(options.batch)]
    chosen = [
        caption_ids.build_caption([])
        if rng.random() < options.caption_dropout_rate
        else caption_ids.draw_caption(rng, cached["captions"][row])
        for row in rows
    ]
    return cached["latents"][rows], caption_ids.pad(chosen, caption_ids.MAX_TOKENS)


def train_unet(
    state_path: Path, cached: dict[str, Any], text_encoder: TextEncoder, options: UnetOptions
) -> Iterator[tuple[int, float]]:
    """Train, going on from `state_path`; yields (step, unweighted loss), saves every two minutes."""
    device = progress.pick_device()
    torch.manual_seed(options.seed)
    unet, text_encoder = build_unet().to(device).train(), text_encoder.to(device).eval()
    fused = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)  # on CPUs from there on
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=fused
    )
    average, first = progress.Average(unet, options.average_decay), 0
    if (state := progress.load_state(state_path)) is not None:
        unet.load_state_dict(state["unet"])
        optimizer.load_state_dict(state["optimizer"])
        average.restore(state["average"])
        first = state["step"]
    predict = torch.compile(unet) if options.compiled else unet
    levels = alphas_cumprod().to(device)
    clock = progress.Clock(120)
    for step in range(first, options.steps):
        progress.set_learning_rate(optimizer, progress.learning_rate_factor(step, options.steps, options.warmup))
        latents, ids = (x.to(device) for x in draw_batch(cached, random.Random(f"{options.seed} {step}"), options))
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        timesteps = draw_timesteps(len(latents), generator).to(device)
        level = levels[timesteps]
        signal = level.sqrt()[:, None, None, None]
        noisy_latents = signal * latents + (1 - level).sqrt()[:, None, None, None] * noise
        with torch.no_grad():
            states = text_encoder(ids).last_hidden_state
        with torch.autocast(device.type, torch.bfloat16):
            noise_pred = predict(noisy_latents, timesteps, states).sample
        losses = (noise_pred.float() - noise).square().mean(dim=(1, 2, 3))
        snr = level / (1 - level)
        loss = (losses * snr.clamp(max=options.min_snr_gamma) / snr).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        if step % AVERAGE_EVERY == 0:
            average.update(unet)
        if clock.due() or step + 1 == options.steps:
            state = {"unet": unet.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            progress.save_state(state_path, {**state, "average": average.state()})
        yield step, losses.mean().item()


def load_averaged(state_path: Path) -> Unet:
    """The UNet with its averaged weights."""
    state = progress.load_state(state_path)
    if state is None:
        raise FileNotFoundError(state_path)
    unet = build_unet().eval()
    unet.load_state_dict(state["average"]["weights"])
    return unet
