"""Diffusion's forward process, what the UNet is asked for, and how much each timestep counts.

Ho et al. 2020, Salimans & Ho 2022; the other tricks name their source. Every random number comes from the generator,
drawn on the CPU, so that it is the same on every device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from distill.options import NoiseOptions

MOST_SNR = 1000.0  # at timestep 0 the signal-to-noise ratio goes towards infinity


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


def draw_noise(latents: torch.Tensor, options: NoiseOptions, generator: torch.Generator) -> torch.Tensor:
    """Noise for (B, 4, h, w) latents, with offset and pyramid where the options ask for them."""
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    if options.noise_offset:
        noise = offset(noise, latents, options, generator)
    if options.multires_noise_iterations:
        noise = pyramid(noise, options.multires_noise_iterations, options.multires_noise_discount, generator)
    return noise


def offset(
    noise: torch.Tensor, latents: torch.Tensor, options: NoiseOptions, generator: torch.Generator
) -> torch.Tensor:
    """A shift of each channel, so that pictures may become darker or brighter as a whole (Crosslabs 2023)."""
    strength: float | torch.Tensor = options.noise_offset
    if options.noise_offset_random:
        strength = torch.rand(1, generator=generator).to(noise) * strength
    if options.adaptive_noise_scale:
        strength = (strength + options.adaptive_noise_scale * latents.mean((2, 3), keepdim=True).abs()).clamp(min=0)
    drawn = torch.randn((*noise.shape[:2], 1, 1), generator=generator).to(noise)
    return noise + strength * drawn


def pyramid(noise: torch.Tensor, iterations: int, discount: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of coarser and coarser grain on top, back to unit variance (Whitaker 2023, "multires noise")."""
    b, c, height, width = noise.shape
    for i in range(iterations):
        factor = (float(torch.rand(1, generator=generator)) * 2 + 2) ** i
        h, w = max(1, int(height / factor)), max(1, int(width / factor))
        coarse = torch.randn((b, c, h, w), generator=generator).to(noise)
        noise = noise + F.interpolate(coarse, size=(height, width), mode="bilinear") * discount**i
        if h == 1 or w == 1:
            break
    return noise / noise.std()


def perturbed(noise: torch.Tensor, options: NoiseOptions, generator: torch.Generator) -> torch.Tensor:
    """The noise that is added while the target stays: input perturbation (Ning et al. 2023)."""
    if not options.ip_noise_gamma:
        return noise
    strength: float | torch.Tensor = options.ip_noise_gamma
    if options.ip_noise_random:
        strength = torch.rand(1, generator=generator).to(noise) * strength
    return noise + strength * torch.randn(noise.shape, generator=generator).to(noise)


def draw_timesteps(count: int, options: NoiseOptions, generator: torch.Generator) -> torch.Tensor:
    """(count,) timesteps, each of the range as likely, on the CPU.

    With `spread_timesteps` one is drawn and the others lie evenly over the range (Kingma et al. 2021, appendix I.1), so
    that no batch sees only high or only low noise.
    """
    lowest, span = options.min_timestep, options.max_timestep - options.min_timestep
    if not options.spread_timesteps:
        return torch.randint(lowest, options.max_timestep, (count,), generator=generator)
    first = torch.randint(0, span, (1,), generator=generator)
    return lowest + (first + torch.arange(count) * span // count) % span


def loss_weights(
    timesteps: torch.Tensor, alphas_cumprod: torch.Tensor, options: NoiseOptions, prediction_type: str
) -> torch.Tensor:
    """(B,) what a squared error at each timestep counts; 1 when nothing is asked for."""
    a = alphas_cumprod[timesteps]
    snr, is_velocity = a / (1 - a), prediction_type == "v_prediction"
    weights = torch.ones_like(a)
    if options.min_snr_gamma:  # Hang et al. 2023
        least = snr.clamp(max=options.min_snr_gamma)
        weights = weights * least / (snr + 1 if is_velocity else snr)
    snr = snr.clamp(max=MOST_SNR)
    if options.scale_v_pred_loss and is_velocity:
        weights = weights * snr / (snr + 1)
    if options.debiased_estimation:  # Yu et al. 2023
        weights = weights * (1 / (snr + 1) if is_velocity else snr.rsqrt())
    return weights * lean(timesteps, len(alphas_cumprod), options.timestep_lean)


def lean(timesteps: torch.Tensor, count: int, strength: float) -> torch.Tensor:
    """(B,) a straight line over the timesteps with mean 1: above 0 the low ones count more, below 0 the high ones.

    At 1/3 it is proportional to w(t) = 1 - 0.5 t/T.
    """
    return 1 + strength * (1 - 2 * timesteps / (count - 1))
