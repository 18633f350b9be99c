"""Frozen convolutions on a CPU in float32, each by what is quickest there; none keeps its input for the backward pass.

As timed beside oneDNN on AVX2 cores with SD1.5's layers: Winograd 1.4-1.9 times as quick at 64 latents, 1.2-2.1 at 32;
unfolding 2.1-2.5 times at 8, where oneDNN also copies all weights in each backward pass, and 1.0-1.7 at 16. There, on
Zen 5, Winograd is 1.7-2.2 times as quick as unfolding, which takes what finds no more memory for its kernels.
"""

from __future__ import annotations

from typing import Any, Protocol

import psutil
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_input

from distill.training.lean.overriding import Overrides
from distill.training.lean.products import Products, chosen
from distill.training.lean.winograd import Scratch, convolved, gradient_of, transformed

LEAST = 320 * 320
"""Of in x out channels: below, what comes before and after the products costs more than they save."""
UNFOLDED = 16 * 16
"""Output pixels, at most, for which unfolding is not slower."""
SMALL = 24
"""Edges below it, in latents, gain less of each byte of Winograd's kernels."""
BUDGET = 1.0e9
"""Bytes for all of Winograd's kernels; SD1.5 at 512 px takes 0.71e9."""
SMALL_BUDGET = 0.75e9
"""The same for small edges; SD1.5 at 512 px would take 1.31e9."""


class Way(Protocol):
    """How one layer is computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, h, w) -> (B, out, h', w'), with bias, in memory of its own."""
        ...

    def backward(self, gradient: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The gradient of an input of that shape."""
        ...


class Plain:
    """oneDNN's own."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)

    def backward(self, gradient: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        layer = self._layer
        size = list(shape)
        found: torch.Tensor = conv2d_input(size, layer.weight, gradient, layer.stride, layer.padding)  # type: ignore[no-untyped-call]
        return found


class Unfolded:
    """One product with all pixels' surroundings; with a kernel of 1 x 1 the pixels themselves."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer
        self._by = chosen(layer.weight, torch.float32)
        self._size: Any = {"kernel_size": layer.kernel_size, "padding": layer.padding, "stride": layer.stride}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer, edge = self._layer, self._layer.kernel_size[0]
        columns = x.flatten(2) if edge == 1 else F.unfold(x, **self._size)  # (B, in k k, h' w')
        y = _products(self._by, layer.weight.flatten(1), columns)
        y = y if layer.bias is None else y.add_(layer.bias[:, None])
        height = (x.shape[2] + 2 * self._size["padding"][0] - edge) // self._size["stride"][0] + 1
        return y.view(len(x), -1, height, y.shape[2] // height)

    def backward(self, gradient: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        columns = _products(self._by, self._layer.weight.flatten(1).t(), gradient.flatten(2))
        edge = self._layer.kernel_size[0]
        return columns.reshape(shape).contiguous() if edge == 1 else F.fold(columns, tuple(shape[2:]), **self._size)


class Winograd:
    """Tiles of m x m pixels."""

    def __init__(self, layer: nn.Conv2d, m: int, scratch: Scratch) -> None:
        self._bias, self._m, self._scratch, self._by = layer.bias, m, scratch, chosen(layer.weight, torch.float32)
        self._kernels = transformed(layer.weight.detach(), m)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = _stacked([convolved(one, self._kernels, self._m, self._scratch, self._by) for one in x])
        return y if self._bias is None else y.add_(self._bias[:, None, None])

    def backward(self, gradient: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        return _stacked([gradient_of(one, self._kernels, self._m, self._scratch, self._by) for one in gradient])


def _products(by: Products, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(n, k) and (B, k, m) -> (B, n, m), without a copy of `left` for each."""
    return _stacked([by.product(left, one) for one in right])


def _stacked(each: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(each) if len(each) > 1 else each[0][None]


class Convolution:
    """One layer; how it is computed is settled when a size is first asked for."""

    def __init__(self, layer: nn.Conv2d, room: Room) -> None:
        self._layer, self._room = layer, room
        self._ways: dict[torch.Size, Way] = {}

    def way(self, x: torch.Tensor) -> Way:
        """For this input (B, in, h, w)."""
        size = x.shape[2:]
        if size not in self._ways:
            self._ways[size] = self._chosen(*size)
        return self._ways[size]

    def _chosen(self, height: int, width: int) -> Way:
        layer = self._layer
        if not is_wide(layer):
            return Plain(layer)
        if layer.kernel_size == (1, 1):
            return Unfolded(layer)
        m = tile(height, width) if layer.stride == (1, 1) else 0
        if m and self._room.takes(layer.weight.numel() / 9 * (m + 2) ** 2 * 4, min(height, width) < SMALL):
            return Winograd(layer, m, self._room.scratch)
        pixels = height * width // (layer.stride[0] * layer.stride[1])
        return Unfolded(layer) if pixels <= UNFOLDED else Plain(layer)


class Room:
    """What all layers of one UNet share: memory for Winograd's kernels, and to work in."""

    def __init__(self) -> None:
        quarter = psutil.virtual_memory().available / 4
        # Apart, since on a UNet's way up the small ones are asked for first.
        self._left = [
            BUDGET if quarter > BUDGET else 0.0,
            SMALL_BUDGET if quarter > BUDGET + SMALL_BUDGET else 0.0,
        ]
        self.scratch = Scratch()

    def takes(self, size: float, is_small: bool) -> bool:
        """Whether there are so many bytes left for an edge that is small or not, and if so, take them."""
        if size > self._left[is_small]:
            return False
        self._left[is_small] -= size
        return True


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, way: Way) -> torch.Tensor:
        ctx.way, ctx.shape = way, x.shape
        return way.forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return ctx.way.backward(gradient, ctx.shape), None


def tile(height: int, width: int) -> int:
    """The edge m of Winograd's tiles, 0 for none.

    F(4, 3) takes 2.25 times the memory of F(2, 3), which is not always quicker than oneDNN at 64 latents. Smaller ones
    have most of the weights and gain least from each byte.
    """
    for m, least in ((4, 48), (2, 16)):
        if min(height, width) >= least and height % m == width % m == 0:
            return m
    return 0


def put(overrides: Overrides, unet: nn.Module, room: Room) -> None:
    """For each frozen convolution that is wide enough."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and is_wide(module) and is_frozen_on_cpu(module):
            overrides.put(module, _convolving(module, Convolution(module, room)))


def is_wide(layer: nn.Conv2d) -> bool:
    """Whether another way than oneDNN's may pay."""
    return layer.weight.shape[0] * layer.weight.shape[1] >= LEAST


def is_frozen_on_cpu(layer: nn.Conv2d) -> bool:
    """Whether it is one of those that are known here: 3 x 3, or 1 x 1 without a stride."""
    square = layer.kernel_size in ((1, 1), (3, 3)) and layer.padding == (layer.kernel_size[0] // 2,) * 2
    plain = square and layer.dilation == (1, 1) and (layer.stride == (1, 1) or layer.kernel_size == (3, 3))
    frozen = not layer.weight.requires_grad and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and frozen and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


def _convolving(layer: nn.Conv2d, convolution: Convolution) -> Any:
    before = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            return before(x)
        y: torch.Tensor = _Convolve.apply(x, convolution.way(x))  # type: ignore[no-untyped-call]
        return y

    return forward
