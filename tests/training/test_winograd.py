"""Winograd's convolution is the convolution, forwards and backwards, and leaves what it should not do."""

import pytest
import torch
from torch import nn

from distill.training.lean import winograd
from distill.training.lean.overriding import Overrides


def layers(size):
    """(a lone frozen layer, its input and a gradient)."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(6, 10, 3, padding=1).requires_grad_(False)
    x = torch.randn(2, 6, *size, generator=generator, requires_grad=True)
    return layer, x, torch.randn(2, 10, *size, generator=generator)


def answer(layer, x, gradient):
    y = layer(x)
    return y.detach(), torch.autograd.grad(y, x, gradient)[0]


@pytest.mark.parametrize("size", [(48, 64), (16, 20), (50, 50), (8, 8)], ids=str)
def test_it_is_the_convolution_both_ways(monkeypatch, size):
    monkeypatch.setattr(winograd, "LEAST", 1)
    layer, x, gradient = layers(size)
    expected = answer(layer, x, gradient)
    with Overrides() as overrides:
        winograd.put(overrides, layer)
        assert "forward" in vars(layer)
        found = answer(layer, x, gradient)
    assert "forward" not in vars(layer)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert torch.equal(found[0], expected[0]) == (winograd.tile(x.shape) == 0)


def test_layers_that_find_no_memory_or_are_narrow_stay_plain(monkeypatch):
    layer, x, gradient = layers((16, 16))
    expected = answer(layer, x, gradient)
    with Overrides() as overrides:
        winograd.put(overrides, layer)
        assert "forward" not in vars(layer)
    monkeypatch.setattr(winograd, "LEAST", 1)
    monkeypatch.setattr(winograd, "BUDGETS", {2: 100, 4: 100})
    with Overrides() as overrides:
        winograd.put(overrides, layer)
        assert all(map(torch.equal, answer(layer, x, gradient), expected))
