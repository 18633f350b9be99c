"""Frozen norms in half precision: as the module itself in that type, without autocast's casts."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from distill.options import Options
from distill.training.adapter import attached
from distill.training.lean import lean, norms
from distill.training.lean.overriding import Overrides
from tests.models import tiny


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.GroupNorm(4, 8), (2, 8, 6, 6)), (nn.GroupNorm(4, 8), (2, 8, 5)), (nn.LayerNorm(8), (2, 5, 8))],
)
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float32])
def test_it_is_the_norm_of_that_type(norm, shape, given):
    norm = copy.deepcopy(norm).to(torch.bfloat16).requires_grad_(False)
    nn.init.normal_(norm.weight)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(given).requires_grad_()
    expected = norm(x.to(torch.bfloat16))
    (expected_gradient,) = torch.autograd.grad(expected.float().square().sum(), x)
    with Overrides() as overrides:
        norms.put(overrides, norm, torch.bfloat16)
        assert "forward" in vars(norm)
        with torch.autocast("cpu", torch.bfloat16):
            found = norm(x)
        (gradient,) = torch.autograd.grad(found.float().square().sum(), x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert torch.equal(gradient, expected_gradient)
    assert "forward" not in vars(norm)


@pytest.mark.parametrize(
    ("norm", "dtype"),
    [
        (nn.LayerNorm(8).requires_grad_(False), torch.float32),
        (nn.LayerNorm(8).requires_grad_(False), torch.bfloat16),  # its weights are kept in float32
        (nn.LayerNorm(8).to(torch.bfloat16), torch.bfloat16),  # it is trained
        (nn.GroupNorm(4, 8, affine=False), torch.bfloat16),
        (nn.Linear(8, 8).to(torch.bfloat16).requires_grad_(False), torch.bfloat16),
    ],
)
def test_others_stay_as_they_are(norm, dtype):
    with Overrides() as overrides:
        norms.put(overrides, norm, dtype)
        assert "forward" not in vars(norm)


def gradients(models, options, *, is_lean):
    """Of a LoRA's layers, all numbers in a row, in float32."""
    drawn = torch.Generator().manual_seed(1)
    noisy, states = torch.randn(2, 4, 16, 16, generator=drawn), torch.randn(2, 77, tiny.WIDTH, generator=drawn)
    half = models.dtype != torch.float32
    with attached(models.unet, "unet", options.network, torch.Generator().manual_seed(0)) as adapter:
        for parameter in adapter.parameters():
            parameter.data.normal_(generator=drawn).mul_(0.05)
        with (
            lean(models, [adapter], options) if is_lean else nullcontext(),
            torch.autocast("cpu", models.dtype, enabled=half, cache_enabled=False),
        ):
            said = models.unet(noisy, torch.tensor([100, 600]), states).sample
        said.float().square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in adapter.parameters()])


def test_the_gradients_are_as_exact_as_with_autocasts_own():
    whole, half = tiny.small_models(), tiny.small_models(dtype=torch.bfloat16)
    for rounded, parameter in zip(whole.unet.parameters(), half.unet.parameters()):
        parameter.data = parameter.data.to(torch.bfloat16)
        rounded.data = parameter.data.float()
    options = Options.from_flat({"network_dim": 4})
    exact = gradients(whole, options, is_lean=False)
    eager, quick = (gradients(half, options, is_lean=is_lean) for is_lean in (False, True))
    off = float((eager - exact).norm() / exact.norm())
    assert 0 < off < 0.1
    assert float((quick - exact).norm() / exact.norm()) < 1.5 * off
