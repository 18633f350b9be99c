"""Convolutions of 3 x 3 by Winograd's minimal filtering: the arithmetic.

Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks": tiles of m x m outputs from (m + 2)^2
inputs take (m + 2)^2 products in place of 9 m^2: F(4, 3) a quarter of them, F(2, 3) four ninths. The weights are
transformed once, for both ways: the gradient goes back through each transformation's transpose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from distill.training.lean.products import Products

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


def transformed(weight: torch.Tensor, m: int) -> torch.Tensor:
    """(out, in, 3, 3) -> ((m + 2)^2, out, in)."""
    kernels = _squared(KERNEL[m]) @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    return kernels.view(-1, *weight.shape[:2])


def convolved(x: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, by: Products) -> torch.Tensor:
    """The convolution of one x (in, h, w) whose edges are multiples of m -> (out, h, w)."""
    p, (channels, height, width), out = m + 2, x.shape, kernels.shape[1]
    rows, columns = height // m, width // m
    count = rows * columns
    framed = F.pad(x, (1, 1, 1, 1))
    plane, row, _ = framed.stride()
    cut = framed.as_strided((p, p, channels, rows, columns), (row, 1, plane, m * row, m))
    tiles = scratch("a", p, p, channels, rows, columns).copy_(cut).view(p * p, -1)
    inputs = torch.mm(_squared(INPUT[m]), tiles, out=scratch("b", p * p, channels * count))
    products = by.each(kernels, inputs.view(p * p, channels, count), scratch("a", p * p, out, count))
    outputs = torch.mm(_squared(OUTPUT[m]), products.view(p * p, -1), out=scratch("b", m * m, out * count))
    return outputs.view(m, m, out, rows, columns).permute(2, 3, 0, 4, 1).reshape(out, height, width)


def gradient_of(y: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, by: Products) -> torch.Tensor:
    """The gradient of x (in, h, w) from that of its convolution, y (out, h, w): `convolved` transposed."""
    p, (out, height, width), channels = m + 2, y.shape, kernels.shape[2]
    rows, columns = height // m, width // m
    count = rows * columns
    cut = y.reshape(out, rows, m, columns, m).permute(2, 4, 0, 1, 3)
    tiles = scratch("a", m, m, out, rows, columns).copy_(cut).view(m * m, -1)
    outputs = torch.mm(_squared(OUTPUT[m]).t(), tiles, out=scratch("b", p * p, out * count))
    places = scratch("a", p * p, channels, count)
    products = by.each(kernels.transpose(1, 2), outputs.view(p * p, out, count), places)
    inputs = torch.mm(_squared(INPUT[m]).t(), products.view(p * p, -1), out=scratch("b", p * p, channels * count))
    return _laid_together(inputs.view(p, p, channels, rows, columns), m, scratch)


def _laid_together(tiles: torch.Tensor, m: int, scratch: Scratch) -> torch.Tensor:
    """(p, p, C, rows, columns) -> (C, h, w): tiles overlap by two rows and two columns, where they are added."""
    p, _, channels, rows, columns = tiles.shape
    height, width = m * rows, m * columns
    framed = scratch("c", channels, height + 2, width + 2)
    framed[:, height:], framed[:, :, width:] = 0, 0
    plane, row, _ = framed.stride()
    for down, below in ((0, m), (m, p)):
        for left, right in ((0, m), (m, p)):  # of one part of every tile no two lie on each other
            shape = (channels, rows, below - down, columns, right - left)
            place = framed.as_strided(shape, (plane, m * row, row, m, 1), down * row + left)
            part = tiles[down:below, left:right].permute(2, 3, 0, 4, 1)
            place.add_(part) if down or left else place.copy_(part)
    return framed[:, 1:-1, 1:-1].contiguous()


def _squared(matrix: Matrix) -> torch.Tensor:
    one = torch.tensor(matrix, dtype=torch.float32)
    return torch.kron(one, one)
