"""Products of float32 matrices on a CPU, by the quicker of the two libraries that torch has for them.

torch's own operations call MKL, which leaves AVX-512 unused on AMD's processors; oneDNN, which computes convolutions,
uses it. On Zen 5 it is 1.8-2.4 times as quick with SD1.5's layers and slower with those that are much smaller; on cores
with AVX2 neither is far ahead.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F

LEAST = 2**16
"""Numbers in a weight: below, an operation costs more than its arithmetic."""
AHEAD = 1.4
"""How much quicker oneDNN has to be: far from both that were seen, 1.15 and 2.2, so that all processes decide alike."""


class Products(Protocol):
    """How products are computed; each answer is memory of its own, or a view of it."""

    def laid(self, x: torch.Tensor) -> torch.Tensor:
        """(T, in) as several products with it want it to lie."""
        ...

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """(T, in), (out, in), (out,) -> (T, out)."""
        ...

    def product(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """(n, k), (k, m) -> (n, m)."""
        ...

    def scaled(self, like: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scale: float) -> torch.Tensor:
        """(n, k), (k, m) -> scale times (n, m); the numbers of `like`, (n, m), are not read."""
        ...

    def added(self, into: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """(n, k), (k, m) -> `into` (n, m), to which it is added."""
        ...

    def each(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """(B, n, k), (B, k, m) -> `out` (B, n, m)."""
        ...


class Usual:
    """torch's own."""

    def laid(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return F.linear(x, weight, bias)

    def product(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left @ right

    def scaled(self, like: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scale: float) -> torch.Tensor:
        return torch.addmm(like, left, right, beta=0, alpha=scale)  # the scale costs no operation of its own

    def added(self, into: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return into.addmm_(left, right)

    def each(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.bmm(left, right, out=out)


class OneDnn:
    """By the operation with which torch.compile computes a linear layer; it has no gradient of its own."""

    def laid(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous()

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if not (weight.is_contiguous() or weight.t().is_contiguous()):
            weight = weight.contiguous()  # with gaps it would take a hundred times as long
        answer: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
        return answer

    def product(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.is_contiguous() or left.numel() <= right.numel():
            return self.linear(left, right.t())
        return self.linear(right.t(), left).t()  # so that the smaller one is copied

    def scaled(self, like: torch.Tensor, left: torch.Tensor, right: torch.Tensor, scale: float) -> torch.Tensor:
        return self.product(left, right).mul_(scale)

    def added(self, into: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return into.add_(self.product(left, right))

    def each(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        for one, other, place in zip(left, right, out):
            place.copy_(self.product(one, other))
        return out


USUAL, ONE_DNN = Usual(), OneDnn()


def chosen(weight: torch.Tensor, dtype: torch.dtype) -> Products:
    """For products with this weight (out, in, ...) in `dtype`."""
    is_for_it = weight.device.type == "cpu" and weight.dtype == dtype == torch.float32 and weight.numel() >= LEAST
    return ONE_DNN if is_for_it and is_ahead() else USUAL


@cache
def is_ahead() -> bool:
    """Whether oneDNN is there, right, and the quicker one: tried once in a process, in some hundredths of a second."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        x, weight = torch.randn(2, 512, 512, generator=generator)
        expected = torch.stack((x @ weight.t(), x @ weight, x.t() @ weight))
        try:
            found = [ONE_DNN.linear(x, weight), ONE_DNN.product(x, weight), ONE_DNN.product(x.t(), weight)]
        except (AttributeError, RuntimeError):
            return False  # a torch without it
        return torch.allclose(torch.stack(found), expected, rtol=1e-4, atol=1e-3) and _ahead_by(x, weight) > AHEAD


def _ahead_by(x: torch.Tensor, weight: torch.Tensor) -> float:
    """How many times as quick oneDNN is; both take turns, so that whatever else the machine does hits both."""
    took: dict[Products, list[float]] = {USUAL: [], ONE_DNN: []}
    for by, seconds in [*took.items()] * 10:
        start = time.perf_counter()
        by.linear(x, weight)
        seconds.append(time.perf_counter() - start)
    return min(took[USUAL]) / min(took[ONE_DNN])
