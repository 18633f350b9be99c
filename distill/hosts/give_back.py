"""Leave borrowed modules as they were, whatever was done to them in between."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CONTAINERS = (dict, OrderedDict, list, set)


@contextmanager
def given_back(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """On every way out: children, hooks, modes, attributes, `requires_grad`, places of parameters as before.

    Weights written to in place are not undone here; `checksum` tells.
    """
    parts = [part for module in modules for part in module.modules()]
    attributes = [(part, {name: _copy(value) for name, value in vars(part).items()}) for part in parts]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    states = [(t, t.requires_grad, t.data) for t in tensors]
    try:
        yield
    finally:
        for part, before in attributes:
            vars(part).clear()
            vars(part).update(before)
        for tensor, requires_grad, data in states:
            tensor.grad = None
            tensor.data = data  # where it lay before: undoes .to(device) and .half() at no cost
            tensor.requires_grad_(requires_grad)


def checksum(modules: Sequence[torch.nn.Module]) -> int:
    """A number that changes when any weight does; about half a second for a full-size SD1.5."""
    return checksum_of(p for module in modules for p in module.parameters())


def checksum_of(tensors: Iterable[torch.Tensor]) -> int:
    """The same of tensors, in their order."""
    import torch

    total = 0
    for i, tensor in enumerate(tensors):
        bits = tensor.detach().contiguous().view(-1).view(torch.uint8)
        if bits.storage_offset() % 8:  # a piece of a larger block, which can't be read in eights
            bits = bits.clone()
        whole = bits[: bits.numel() // 8 * 8].view(torch.int64)
        total += (i + 1) * int(whole.sum())  # wraps around at 64 bits, as wanted
        total += int(bits[bits.numel() // 8 * 8 :].sum())
    return total


def _copy(value: Any) -> Any:
    return copy.copy(value) if type(value) in CONTAINERS else value
