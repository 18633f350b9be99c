"""Our ten lines of diffusion against diffusers' scheduler."""

import pytest
import torch
from diffusers import DDPMScheduler

from distill.options import NoiseOptions
from distill.training.noise import (
    diffuse,
    draw_noise,
    draw_timesteps,
    lean,
    loss_weights,
    perturbed,
    target_of,
)
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


def seeded():
    return torch.Generator().manual_seed(1)


def test_plain_noise_is_only_noise():
    latents = torch.zeros(64, 4, 8, 8)
    noise = draw_noise(latents, NoiseOptions(), seeded())
    assert torch.equal(noise, torch.randn(latents.shape, generator=seeded()))
    assert perturbed(noise, NoiseOptions(), seeded()) is noise


def test_an_offset_shifts_whole_channels():
    latents = torch.zeros(256, 4, 16, 16)
    shifts = draw_noise(latents, NoiseOptions(noise_offset=0.5), seeded()).mean((2, 3))
    plain = draw_noise(latents, NoiseOptions(), seeded()).mean((2, 3))
    assert float(shifts.std()) == pytest.approx((0.5**2 + float(plain.var())) ** 0.5, rel=0.1)
    halved = draw_noise(latents, NoiseOptions(noise_offset=0.5, noise_offset_random=True), seeded()).mean((2, 3))
    assert float(halved.std()) < float(shifts.std())
    bright = draw_noise(latents + 1, NoiseOptions(noise_offset=0.1, adaptive_noise_scale=0.4), seeded()).mean((2, 3))
    assert float(bright.std()) == pytest.approx(float(shifts.std()), rel=0.05)  # 0.1 + 0.4 * 1


def test_a_pyramid_has_coarse_grain_and_unit_variance():
    latents = torch.zeros(16, 4, 32, 32)
    noise = draw_noise(latents, NoiseOptions(multires_noise_iterations=6, multires_noise_discount=0.8), seeded())
    assert float(noise.std()) == pytest.approx(1, rel=1e-3)

    def neighbours(x):
        return float((x[..., 1:] * x[..., :-1]).mean())

    assert neighbours(noise) > neighbours(draw_noise(latents, NoiseOptions(), seeded())) + 0.2


def test_perturbation_adds_what_the_target_does_not_know():
    noise = torch.zeros(64, 4, 8, 8)
    assert float(perturbed(noise, NoiseOptions(ip_noise_gamma=0.1), seeded()).std()) == pytest.approx(0.1, rel=0.05)


def test_timesteps_stay_in_their_range():
    options = NoiseOptions(min_timestep=200, max_timestep=300, spread_timesteps=False)
    drawn = draw_timesteps(2000, options, seeded())
    assert (int(drawn.min()), int(drawn.max())) == (200, 299)


def test_spread_timesteps_lie_evenly_and_each_is_as_likely():
    options, generator = NoiseOptions(min_timestep=200, max_timestep=300), seeded()
    drawn = torch.stack([draw_timesteps(4, options, generator) for _ in range(2000)])
    assert (int(drawn.min()), int(drawn.max())) == (200, 299)
    assert bool((drawn.sort(1).values.diff() == 25).all())
    torch.testing.assert_close(drawn.double().mean(0), torch.full((4,), 249.5).double(), rtol=0, atol=3)
    alone = NoiseOptions(spread_timesteps=False)
    assert torch.equal(draw_timesteps(1, NoiseOptions(), seeded()), draw_timesteps(1, alone, seeded()))


def test_weights_are_those_of_the_papers():
    a, steps = alphas_cumprod(), torch.tensor([1, 300, 999])
    snr = a[steps] / (1 - a[steps])

    def weights(prediction="epsilon", **options):
        return loss_weights(steps, a, NoiseOptions(**{"min_snr_gamma": 0.0, **options}), prediction)

    assert torch.equal(weights(), torch.ones(3))
    torch.testing.assert_close(weights(min_snr_gamma=5.0), torch.minimum(snr, torch.tensor(5.0)) / snr)
    torch.testing.assert_close(
        weights("v_prediction", min_snr_gamma=5.0), torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    )
    torch.testing.assert_close(weights(debiased_estimation=True), snr.clamp(max=1000) ** -0.5)
    torch.testing.assert_close(
        weights("v_prediction", scale_v_pred_loss=True), snr.clamp(max=1000) / (snr.clamp(max=1000) + 1)
    )
    assert torch.equal(weights(scale_v_pred_loss=True), torch.ones(3))


def test_leaning_keeps_the_mean():
    every = torch.arange(1000)
    for strength in (-1.0, 0.0, 1 / 3, 1.0):
        line = lean(every, 1000, strength)
        assert float(line.mean()) == pytest.approx(1, abs=1e-4)
        assert float(line[0]) == pytest.approx(1 + strength)
