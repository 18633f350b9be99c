"""A VAE's encoder answers the same within rounding, and is as it was afterwards."""

import pytest
import torch

from distill.conditioning import for_vae
from distill.training.lean import convolutions
from distill.training.lean.encoder import lean_encoder
from tests.models import tiny

PIXELS = torch.rand(1, 3, 128, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def vae():
    return tiny.models().vae


def encoded(vae, **changes):
    """Mean and variance together (1, 8, h, w)."""
    with torch.no_grad():
        return vae.encode(for_vae(vae, PIXELS).to(**changes)).latent_dist.parameters


def overridden(vae):
    return [path for path, module in vae.named_modules() if "forward" in vars(module)]


def test_blocks_alone_answer_to_the_bit(vae):
    expected = encoded(vae)
    with lean_encoder(vae):
        assert overridden(vae)
        assert all("resnets" in path for path in overridden(vae))  # none of its convolutions is wide
        assert torch.equal(encoded(vae), expected)
    assert overridden(vae) == []


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
def test_with_convolutions_by_winograd_it_is_the_same_within_rounding(vae, monkeypatch, memory_format):
    expected = encoded(vae, memory_format=memory_format)
    monkeypatch.setattr(convolutions, "LEAST", 1)
    with lean_encoder(vae):
        assert any(path.endswith("conv2") for path in overridden(vae))
        found = encoded(vae, memory_format=memory_format)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found, expected)  # else it went another way


def test_with_gradients_each_block_is_the_usual_one(vae):
    pixels = PIXELS.clone().requires_grad_()
    expected = torch.autograd.grad(vae.encode(pixels).latent_dist.mean.sum(), pixels)[0]
    with lean_encoder(vae):
        found = torch.autograd.grad(vae.encode(pixels).latent_dist.mean.sum(), pixels)[0]
    assert torch.equal(found, expected)


def test_what_is_to_be_learnt_stays_as_it_is():
    vae = tiny.models().vae.requires_grad_(True)
    with lean_encoder(vae):
        assert overridden(vae) == []


def test_it_is_left_as_it_was_when_encoding_fails(vae):
    with pytest.raises(RuntimeError, match="channels"), lean_encoder(vae), torch.no_grad():
        vae.encode(torch.zeros(1, 5, 16, 16))
    assert overridden(vae) == []
