"""A frozen convolution is the same by every way, forwards and backwards, and one that is not to be touched is not."""

import pytest
import torch
from torch import nn

from distill.training.lean import convolutions, products, winograd
from distill.training.lean.overriding import Overrides


def layer(kernel=3, **changes):
    return nn.Conv2d(6, 10, kernel, **{"padding": kernel // 2, **changes}).requires_grad_(False)


def answer(layer, size, batch=2):
    """(output, gradient of the input)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, layer.in_channels, *size, generator=generator, requires_grad=True)
    y = layer(x)
    gradient = torch.randn(y.shape, generator=generator)
    return y.detach(), torch.autograd.grad(y, x, gradient)[0]


def put(overrides, module):
    convolutions.put(overrides, module, convolutions.Room())


def ways(monkeypatch):
    """The names of the ways that are taken from now on."""
    taken, chosen = [], convolutions.Convolution._chosen

    def choose(self, *size):
        way = chosen(self, *size)
        taken.append(type(way).__name__)
        return way

    monkeypatch.setattr(convolutions.Convolution, "_chosen", choose)
    return taken


@pytest.mark.parametrize(
    ("layer", "size", "way"),
    [
        (layer(), (48, 64), "Winograd"),
        (layer(bias=False), (32, 24), "Winograd"),
        (layer(), (50, 49), "Plain"),
        (layer(), (16, 18), "Winograd"),
        (layer(), (16, 12), "Unfolded"),
        (layer(stride=2), (32, 24), "Unfolded"),
        (layer(stride=2), (13, 11), "Unfolded"),
        (layer(stride=2), (64, 64), "Plain"),
        (layer(1), (40, 24), "Unfolded"),
        (layer(1, bias=False), (9, 8), "Unfolded"),
    ],
    ids=str,
)
def test_it_is_the_convolution_both_ways(monkeypatch, layer, size, way):
    monkeypatch.setattr(convolutions, "LEAST", 1)
    taken = ways(monkeypatch)
    for batch in (1, 2):
        expected = answer(layer, size, batch)
        with Overrides() as overrides:
            put(overrides, layer)
            found = answer(layer, size, batch)
        assert "forward" not in vars(layer)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert taken == [way, way]


@pytest.mark.parametrize(
    "layer",
    [layer(padding=0), layer(dilation=2), layer(1, stride=2), layer(padding_mode="circular"), layer(groups=2)],
    ids=["unpadded", "dilated", "strided pixels", "circular", "in groups"],
)
def test_another_kind_of_convolution_stays_as_it_is(monkeypatch, layer):
    monkeypatch.setattr(convolutions, "LEAST", 1)
    with Overrides() as overrides:
        put(overrides, layer)
        assert "forward" not in vars(layer)


def test_a_narrow_layer_stays_as_it_is():
    narrow = layer()
    with Overrides() as overrides:
        put(overrides, narrow)
        assert "forward" not in vars(narrow)


def test_what_finds_no_memory_for_kernels_goes_by_another_way(monkeypatch):
    monkeypatch.setattr(convolutions, "LEAST", 1)
    monkeypatch.setattr(convolutions, "BUDGET", 36 * 4 * 6 * 10)  # for one of them
    monkeypatch.setattr(convolutions, "SMALL_BUDGET", 16 * 4 * 6 * 10)
    taken, all_four = ways(monkeypatch), nn.Sequential(*(layer() for _ in range(4)))
    with Overrides() as overrides:
        put(overrides, all_four)
        for one, edge in zip(all_four, (16, 48, 16, 48)):
            answer(one, (edge, edge))
    assert taken == ["Winograd", "Winograd", "Unfolded", "Plain"]


def test_its_input_is_not_kept_for_the_way_back(monkeypatch):
    monkeypatch.setattr(convolutions, "LEAST", 1)
    kept = []
    one, x = layer(), torch.randn(1, 6, 8, 8, requires_grad=True)
    with Overrides() as overrides, torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        put(overrides, one)
        one(x * 1)
    assert kept == []


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_in_parts_it_is_the_same_and_lies_as_its_input_does(monkeypatch, memory_format):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 6, 56, 48, generator=generator).to(memory_format=memory_format)
    kernels = winograd.transformed(layer().weight, 4)

    sizes = []

    class Scratch(winograd.Scratch):
        def __call__(self, name, *shape):
            sizes.extend([shape[1]] * (name == "inputs"))
            return super().__call__(name, *shape)

    def found():
        return winograd.convolved(x[0], kernels, 4, Scratch(), products.USUAL)

    whole = found()
    monkeypatch.setattr(winograd, "CHUNK", 36 * 12 * 10 * 5)
    torch.testing.assert_close(found(), whole, rtol=1e-5, atol=1e-5)
    assert sizes == [14, 5, 5, 4]  # rows of tiles
    assert found()[None].is_contiguous(memory_format=memory_format)
