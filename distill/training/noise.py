"""Diffusion's forward process and what the UNet is asked for (Ho et al. 2020, Salimans & Ho 2022)."""

from __future__ import annotations

import torch


def diffuse(
    latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
) -> torch.Tensor:
    """sqrt(a) x + sqrt(1 - a) e for (B, 4, h, w) latents at (B,) timesteps."""
    a = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def target_of(
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    prediction_type: str,
) -> torch.Tensor:
    """What the UNet should answer: the noise, or the velocity sqrt(a) e - sqrt(1 - a) x."""
    if prediction_type == "epsilon":
        return noise
    a = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return a.sqrt() * noise - (1 - a).sqrt() * latents
