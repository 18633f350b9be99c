"""Whether gradients that were found in another way are the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from distill.training.adapter import given_back

OFF = 0.01
"""By how much weights are moved; a layer's first ones are about 0.03 and 0."""


def tolerance(dtype: torch.dtype) -> float:
    """Some roundings in the type that is computed in: the libraries may choose another way on another stream."""
    return max(1e-3, 8 * torch.finfo(dtype).eps)


def apart(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest difference of two tensors, each relative to its own norm and the mean one's; one of them alone is
    rounding where the weight has no influence.

    inf where something found is no number; nan where something expected is none, as under a loss scale that is still
    too high: nothing can be said then.
    """
    norms = torch.stack([other.norm() for other in expected])
    if not bool(norms.isfinite().all()):
        return math.nan
    of_each = torch.stack([(one - other).norm() for one, other in zip(found, expected)])
    scale = (norms + norms.square().mean().sqrt()).clamp(min=torch.finfo(torch.float32).tiny)
    off = float((of_each / scale).max())
    return off if math.isfinite(off) else math.inf


@contextmanager
def elsewhere(weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """All of them have other values for the length of a with block, and then their own again, to the bit."""
    with given_back(weights):
        for weight in weights:
            weight.data.add_(OFF)
        yield
