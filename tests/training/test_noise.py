"""Our ten lines of diffusion against diffusers' scheduler."""

import torch
from diffusers import DDPMScheduler

from distill.training.noise import diffuse, target_of
from tests.models.tiny import alphas_cumprod

scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def draws():
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(4, 4, 8, 8, generator=generator) for _ in range(2))
    return latents, noise, torch.tensor([0, 250, 500, 999])


def test_diffuse_is_add_noise():
    latents, noise, timesteps = draws()
    torch.testing.assert_close(
        diffuse(latents, noise, timesteps, alphas_cumprod()), scheduler.add_noise(latents, noise, timesteps)
    )


def test_target_is_the_noise_or_the_velocity():
    latents, noise, timesteps = draws()
    assert target_of(latents, noise, timesteps, alphas_cumprod(), "epsilon") is noise
    torch.testing.assert_close(
        target_of(latents, noise, timesteps, alphas_cumprod(), "v_prediction"),
        scheduler.get_velocity(latents, noise, timesteps),
    )
