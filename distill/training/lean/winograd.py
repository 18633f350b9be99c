"""Convolutions of 3 x 3 by Winograd's minimal filtering: the arithmetic.

Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks": tiles of m x m outputs from (m + 2)^2
inputs take (m + 2)^2 products in place of 9 m^2: F(4, 3) a quarter of them, F(2, 3) four ninths. The weights are
transformed once, for both ways. The gradient is a convolution too, with the kernels turned over, and the points at
which kernels are read as polynomials are chosen so that turning one over only puts what was read in another order.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch

from distill.training.lean.products import Products

POINTS = {2: (1.0,), 4: (1.0, 1 / 2)}
"""For tiles of m x m; beside them 0, infinity, and the negative inverse of each. With SD1.5's layers F(4, 3) rounded a
third to a half as much forward as with 0, 1, -1, 2, -2 and infinity."""
CHUNK = 2**24
"""Numbers of all tiles at once, 64 MB: a UNet's layers at 512 px are whole, a VAE's are not."""
BLOCK = 2**19
"""Numbers that are gathered and transformed at once, 2 MB; half and twice as many took as long on Zen 5."""


class Transforms(NamedTuple):
    """Matrices for tiles as rows of p * p = (m + 2)^2 numbers, or m * m."""

    kernel: torch.Tensor  # (p p, 9)
    input: torch.Tensor  # (p p, p p)
    output: torch.Tensor  # (m m, p p)
    input_back: torch.Tensor  # the same, for the gradient
    output_back: torch.Tensor


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


@cache
def transforms(m: int) -> Transforms:
    """By Toom and Cook: kernel and tile are polynomials, multiplied by way of their values at p points."""
    points = [0.0, *POINTS[m], *(-1 / x for x in reversed(POINTS[m]))]
    with torch.inference_mode(False):
        scale = torch.tensor([*(1 / abs(x) if x else 1.0 for x in points), 1.0], dtype=torch.float64).diag()
        kernel, output = scale @ _values(points, 3), _values(points, m).t()
        given = torch.linalg.inv(scale @ _values(points, m + 2)).t()
        # Turned over, with every second number negative, a kernel has at -1 / x the value that it had at x.
        back = (given * _signs(m + 2)).flip(0), (_signs(m)[:, None] * output).flip(1)
        return Transforms(*(torch.kron(one, one).float() for one in (kernel, given, output, *back)))


def _values(points: list[float], count: int) -> torch.Tensor:
    """(p, count): a polynomial's values at the points, and last at infinity, from its coefficients."""
    rows = [[x**k for k in range(count)] for x in points] + [[0.0] * (count - 1) + [1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def _signs(count: int) -> torch.Tensor:
    return torch.tensor([(-1.0) ** k for k in range(count)], dtype=torch.float64)


def transformed(weight: torch.Tensor, m: int) -> torch.Tensor:
    """(out, in, 3, 3) -> ((m + 2)^2, out, in)."""
    kernels = transforms(m).kernel @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    return kernels.view(-1, *weight.shape[:2])


def convolved(x: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, by: Products) -> torch.Tensor:
    """The convolution of one x (in, h, w) whose edges are multiples of m -> (out, h, w)."""
    of = transforms(m)
    return _convolved(x, kernels.transpose(1, 2), of.input, of.output, m, scratch, by)


def gradient_of(y: torch.Tensor, kernels: torch.Tensor, m: int, scratch: Scratch, by: Products) -> torch.Tensor:
    """The gradient of x (in, h, w) from that of its convolution, y (out, h, w)."""
    of = transforms(m)
    return _convolved(y, kernels, of.input_back, of.output_back, m, scratch, by)


def _convolved(
    x: torch.Tensor,
    kernels: torch.Tensor,
    before: torch.Tensor,
    after: torch.Tensor,
    m: int,
    scratch: Scratch,
    by: Products,
) -> torch.Tensor:
    """x (in, h, w), kernels (p p, in, out) -> (out, h, w); inside, a pixel's channels lie together."""
    p, (channels, height, width), out = m + 2, x.shape, kernels.shape[2]
    rows, columns = height // m, width // m
    if x.stride(0) == 1:  # channels last: as it came
        pixels = x.new_empty(height, width, out)
        answer = pixels.permute(2, 0, 1)
    else:
        answer = x.new_empty(out, height, width)
        pixels = answer.permute(1, 2, 0)
    for top, end in _parts(rows, p * p * columns * max(channels, out), CHUNK):
        tiles = _tiles(x, top, end, m, scratch)  # (rows, p, p, columns, in)
        inputs = scratch("inputs", p * p, end - top, columns * channels)
        for at, upto in _parts(end - top, p * p * columns * channels, BLOCK):
            block = scratch("block", p, p, upto - at, columns, channels).copy_(tiles[at:upto].permute(1, 2, 0, 3, 4))
            inputs[:, at:upto] = by.product(before, block.view(p * p, -1)).view(p * p, upto - at, -1)
        products = scratch("products", p * p, (end - top) * columns, out)
        by.each(inputs.view(p * p, -1, channels), kernels, products)
        products = products.view(p * p, end - top, columns * out)
        for at, upto in _parts(end - top, p * p * columns * out, BLOCK):
            block = scratch("block", p * p, upto - at, columns * out).copy_(products[:, at:upto])
            outputs = by.product(after, block.view(p * p, -1)).view(m, m, upto - at, columns, out)
            lines = pixels[(top + at) * m : (top + upto) * m]
            lines.copy_(outputs.permute(2, 0, 3, 1, 4).reshape(-1, width, out))
    return answer


def _tiles(x: torch.Tensor, top: int, end: int, m: int, scratch: Scratch) -> torch.Tensor:
    """Some rows of the tiles of x (C, h, w), with what is around them, 0 beyond x: a view (rows, p, p, columns, C)."""
    channels, height, width = x.shape
    above, below = max(top * m - 1, 0), min(end * m + 1, height)  # of x, what they cover
    framed = scratch("framed", (end - top) * m + 2, width + 2, channels)
    framed[:, 0], framed[:, -1] = 0, 0
    if top == 0:
        framed[0] = 0
    if end * m == height:
        framed[-1] = 0
    first = above - (top * m - 1)
    framed[first : first + below - above, 1:-1] = x[:, above:below].permute(1, 2, 0)
    row, column, _ = framed.stride()
    shape = (end - top, m + 2, m + 2, width // m, channels)
    return framed.as_strided(shape, (m * row, row, column, m * column, 1))


def _parts(rows: int, size: int, most: int) -> list[tuple[int, int]]:
    """From where to where, for parts of at most so many numbers, with `size` in a row."""
    count = max(1, most // size)
    return [(at, min(at + count, rows)) for at in range(0, rows, count)]
