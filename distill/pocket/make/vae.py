"""Trains the pocket VAE and scales its latents to zero mean and unit covariance."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from distill.pocket.make import progress
from distill.pocket.make.pictures import vae_batch

Vae = Any  # diffusers.AutoencoderKL, whose methods type checkers do not see
SCALE_FACTOR = 0.18215
LOG_VARIANCE = -12.0


@dataclass(frozen=True, kw_only=True)
class VaeOptions:
    """How the VAE is trained."""

    steps: int = 3200
    batch: int = 4
    learning_rate: float = 2e-3
    warmup: int = 100
    latent_noise: float = 0.1
    seed: int = 1


def build_vae() -> Vae:
    """SD1.5's VAE with 64 channels throughout, no extra residual blocks, f=8, 0.9 M parameters."""
    return AutoencoderKL(  # type: ignore[no-untyped-call]
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(64, 64, 64, 64),
        layers_per_block=0,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=128,
        scaling_factor=SCALE_FACTOR,
    )


def _start_as_identity(vae: Vae) -> None:
    for name, module in vae.named_modules():
        if "resnets" in name and name.endswith("conv2"):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)


def train_vae(state_path: Path, options: VaeOptions) -> Iterator[tuple[int, float, float]]:
    """Train, going on from `state_path`; yields (step, mean squared error, seconds), saves each minute."""
    device = progress.pick_device()
    torch.manual_seed(options.seed)
    vae = build_vae()
    _start_as_identity(vae)
    vae.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=options.learning_rate, weight_decay=1e-4, betas=(0.9, 0.98))
    average, first = progress.Average(vae, 0.998), 0
    if (state := progress.load_state(state_path)) is not None:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        average.restore(state["average"])
        first = state["step"]
    save_clock = progress.Clock(60)
    for step in range(first, options.steps):
        started = time.perf_counter()
        progress.set_learning_rate(optimizer, progress.learning_rate_factor(step, options.steps, options.warmup))
        pictures = vae_batch(random.Random(f"{options.seed} {step}"), options.batch).to(device)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encode(pictures).latent_dist.mean  # (B, 4, 16, 16)
            spread = latents.detach().float().std(dim=(0, 2, 3), keepdim=True)
            noise = torch.randn(latents.shape, device=device) * spread * options.latent_noise
            output = vae.decode(latents + noise.to(latents.dtype)).sample
        error = output.float() - pictures
        mse = error.square().mean()
        loss = error.abs().mean() + mse
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(vae)
        if save_clock.due() or step + 1 == options.steps:
            state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state()}
            progress.save_state(state_path, {**state, "step": step + 1})
        yield step, mse.item(), time.perf_counter() - started


def load_averaged(state_path: Path) -> Vae:
    """The VAE with its averaged weights, not yet scaled."""
    state = progress.load_state(state_path)
    if state is None:
        raise FileNotFoundError(state_path)
    vae = build_vae()
    vae.load_state_dict(state["average"]["weights"])
    return vae.eval()


@torch.no_grad()
def scale_latents(vae: Vae, pictures: torch.Tensor) -> None:
    """Fold into quant_conv and post_quant_conv, exactly, that latents * 0.18215 have mean 0, covariance 1.

    The latents' own axes are kept as far as may be (ZCA). The encoder's log variance becomes a constant.
    """
    latents = vae.encode(pictures).latent_dist.mean.double()  # (B, 4, h, w)
    flat = latents.permute(1, 0, 2, 3).flatten(1)  # (4, N)
    mean = flat.mean(dim=1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    whiten = vectors @ torch.diag(values.rsqrt()) @ vectors.T / SCALE_FACTOR
    restore = torch.linalg.inv(whiten)
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight, bias = quant.weight[:4, :, 0, 0].double(), quant.bias[:4].double()
    quant.weight.zero_()
    quant.bias.fill_(LOG_VARIANCE)
    quant.weight[:4, :, 0, 0] = (whiten @ weight).to(quant.weight)
    quant.bias[:4] = (whiten @ (bias - mean)).to(quant.bias)
    post_weight = post.weight[:, :, 0, 0].double()
    post.bias += (post_weight @ mean).to(post.bias)
    post.weight[:, :, 0, 0] = (post_weight @ restore).to(post.weight)
