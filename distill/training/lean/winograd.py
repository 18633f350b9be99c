"""Frozen 3x3 convolutions by Winograd's minimal filtering, on a CPU in float32.

Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks": tiles of m x m outputs from (m + 2)^2
inputs take (m + 2)^2 products in place of 9 m^2: F(4, 3) a quarter of them, F(2, 3) four ninths. The weights are
transformed once; the backward pass is the same with each kernel turned round and its channels exchanged.
"""

from __future__ import annotations

from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import nn

from distill.training.lean.overriding import Overrides

Matrix = list[list[float]]
KERNEL: dict[int, Matrix] = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
    ],
}  # fmt: skip
INPUT: dict[int, Matrix] = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
    ],
}  # fmt: skip
OUTPUT: dict[int, Matrix] = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}
SWAPPED = [3, 1, 2, 0]
"""A kernel turned round has F(2, 3)'s rows in this order, so that both ways share one set of kernels."""
LEAST = 320 * 320
"""Of in x out channels: below, transforming the tiles costs more than the products that it saves."""
BUDGETS = {4: 0.45e9, 2: 0.95e9}
"""Bytes for all kernels of F(4, 3), which needs one set for each way, and of F(2, 3)."""


class Workshop:
    """What all layers of one UNet share: how much memory is left for kernels, and room to work in."""

    def __init__(self) -> None:
        self.left = dict(BUDGETS)
        self.scratch = Scratch()

    def takes(self, weight: torch.Tensor, m: int) -> bool:
        """Whether there is memory for the kernels of one more layer, and if so, take it."""
        size = weight.numel() / 9 * (m + 2) ** 2 * 4 * (2 if m == 4 else 1)
        if size > self.left[m]:
            return False
        self.left[m] -= size
        return True


class Convolution:
    """One frozen layer; its kernels (m + 2)^2 x (out, in) are made when they are first asked for."""

    def __init__(self, layer: nn.Conv2d, workshop: Workshop) -> None:
        self.layer, self._workshop = layer, workshop
        self._kernels: dict[tuple[int, bool], torch.Tensor | None] = {}

    def suits(self, x: torch.Tensor) -> bool:
        """Whether this input (B, in, h, w) is to be convolved here."""
        m = tile(x.shape)
        if m and (m, False) not in self._kernels:
            weight = self.layer.weight.detach()
            taken = x.dtype == torch.float32 and self._workshop.takes(weight, m)
            self._kernels[m, False] = transformed(weight, m) if taken else None
            self._kernels[m, True] = self._turned(m) if taken else None
        return bool(m) and self._kernels[m, False] is not None and x.dtype == torch.float32

    def _turned(self, m: int) -> torch.Tensor | None:
        if m == 2:
            return self._kernels[m, False]
        return transformed(self.layer.weight.detach().flip(2, 3), m)

    def __call__(self, x: torch.Tensor, *, turned: bool) -> torch.Tensor:
        """(B, in, h, w) -> (B, out, h, w) without bias; `turned`: the gradient's way back."""
        m = tile(x.shape)
        kernels = self._kernels[m, turned]
        assert kernels is not None, "it was asked whether it suits"
        kernels = kernels.transpose(1, 2) if turned else kernels
        return convolved(x, kernels, m, self._workshop.scratch, swapped=turned and m == 2)


class Scratch:
    """Memory for what lives within one call only; asking the system for it anew costs as much as the products do."""

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        size = 1
        for edge in shape:
            size *= edge
        if name not in self._held or self._held[name].numel() < size:
            with torch.inference_mode(False):
                self._held[name] = torch.empty(size)
        return self._held[name][:size].view(shape)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, convolution: Convolution) -> torch.Tensor:
        ctx.convolution = convolution
        y, bias = convolution(x, turned=False), convolution.layer.bias
        return y if bias is None else y.add_(bias[:, None, None])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return ctx.convolution(gradient, turned=True), None


def tile(shape: torch.Size) -> int:
    """The edge m of a tile for inputs (B, C, h, w), 0 for none: as timed for SD1.5's layers on one AVX2 core.

    F(4, 3) is 1.2-1.4 times as quick as oneDNN at 64 latents, where F(2, 3) is not always quicker; F(2, 3) 1.6 times
    at 32, for less than a quarter of F(4, 3)'s memory, and 1.8 at 16. At 8, too; but half of all weights are there.
    """
    height, width = shape[-2:]
    for m, least in ((4, 48), (2, 16)):
        if min(height, width) >= least and height % m == width % m == 0:
            return m
    return 0


def transformed(weight: torch.Tensor, m: int) -> torch.Tensor:
    """(out, in, 3, 3) -> ((m + 2)^2, out, in)."""
    g = torch.tensor(KERNEL[m])
    kernels = torch.kron(g, g) @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    return kernels.view(-1, *weight.shape[:2])


def convolved(
    x: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, *, swapped: bool = False
) -> torch.Tensor:
    """The convolution of x (B, in, h, w) whose edges are multiples of m."""
    batch, _, height, width = x.shape
    out = kernels.shape[1]
    each = [_one(x[i], kernels, m, scratch, swapped) for i in range(batch)]
    return torch.stack(each).view(batch, out, height, width) if batch > 1 else each[0][None]


def _one(x: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, swapped: bool) -> torch.Tensor:
    """(in, h, w) -> (out, h, w)."""
    p, (channels, height, width) = m + 2, x.shape
    rows, columns, out = height // m, width // m, kernels.shape[1]
    count = rows * columns
    order = SWAPPED if swapped else list(range(p))
    framed = F.pad(x, (1, 1, 1, 1))
    plane, row, _ = framed.stride()
    cut = framed.as_strided((p, p, channels, rows, columns), (row, 1, plane, m * row, m))
    tiles = scratch("a", p, p, channels, rows, columns).copy_(cut).view(p * p, -1)
    inputs = torch.mm(_squared(torch.tensor(INPUT[m])[order]), tiles, out=scratch("b", p * p, channels * count)).view(
        p * p, channels, count
    )
    products = torch.bmm(kernels, inputs, out=scratch("a", p * p, out, count)).view(p * p, -1)
    outputs = torch.mm(_squared(torch.tensor(OUTPUT[m])[:, order]), products, out=scratch("b", m * m, out * count))
    return outputs.view(m, m, out, rows, columns).permute(2, 3, 0, 4, 1).reshape(out, height, width)


def _squared(matrix: torch.Tensor) -> torch.Tensor:
    return torch.kron(matrix.float(), matrix.float())


def put(overrides: Overrides, unet: nn.Module) -> None:
    """For each frozen convolution that is wide enough, if twice the memory that it takes is free."""
    workshop = Workshop()
    if psutil.virtual_memory().available < 2 * sum(BUDGETS.values()):
        return
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and _suits(module):
            overrides.put(module, _convolving(Convolution(module, workshop)))


def _suits(layer: nn.Conv2d) -> bool:
    plain = layer.kernel_size == (3, 3) and layer.stride == layer.dilation == (1, 1) and layer.padding == (1, 1)
    wide = layer.weight.shape[0] * layer.weight.shape[1] >= LEAST
    frozen = not layer.weight.requires_grad and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and wide and frozen and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


def _convolving(convolution: Convolution) -> Any:
    before = convolution.layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not convolution.suits(x):
            return before(x)
        y: torch.Tensor = _Convolve.apply(x, convolution)  # type: ignore[no-untyped-call]
        return y

    return forward
