"""What was encoded before, by content: a second training of the same picture starts at once.

A WebUI says which checkpoint is loaded, but not which VAE, so the weights are asked. They are only ever read; what is
kept are copies on the CPU.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

import torch
from torch import nn

from distill.host import Models

LIMIT = 64 * 2**20  # bytes: at 512 px a picture with its mirror image has 256 KiB, 75 tokens have 231 KiB
SAMPLES = 4096  # of each tensor in a stamp; another VAE or a merged LoRA changes all of a tensor
DECODING = ("decoder.", "post_quant_conv.")  # a VAE's parts that encode nothing

Tensors = tuple[torch.Tensor, ...]


class Memory:
    """Tensors by key; the ones not asked for longest go first. For several threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, Tensors] = OrderedDict()
        self._size = 0  # bytes
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes kept now."""
        return self._size

    def forget(self) -> None:
        """All of it."""
        with self._lock:
            self._kept.clear()
            self._size = 0

    def recall(
        self, key: Hashable | None, make: Callable[[], Tensors], device: torch.device, *, if_room: bool = False
    ) -> Tensors:
        """What `make` gave for this key, or gives now; the caller's own. Without a key nothing is kept.

        `if_room`: keep it only where nothing else has to go.
        """
        if key is None:
            return make()
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        if found is None:
            made = make()  # without the lock: it may take seconds
            self._keep(key, made, if_room)
            return made
        return tuple(tensor.to(device, copy=True) for tensor in found)

    def _keep(self, key: Hashable, made: Tensors, if_room: bool) -> None:
        size = _bytes(made)
        if size > self._limit or (if_room and self._size + size > self._limit):
            return
        copies = tuple(tensor.detach().to("cpu", copy=True) for tensor in made)
        with self._lock:
            self._size += size - _bytes(self._kept.pop(key, ()))
            self._kept[key] = copies
            while self._size > self._limit:
                self._size -= _bytes(self._kept.popitem(last=False)[1])


MEMORY = Memory()


def stamp_of(models: Models, module: nn.Module, without: tuple[str, ...] = ()) -> Hashable | None:
    """Equal for modules that answer alike to the bit; None where that can't be known. Takes milliseconds.

    Parts whose names begin with one of `without` do not count.
    """
    if not models.sha256 or not all(map(_plain, module.modules())):
        return None
    digest = hashlib.sha256(repr(module.config).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if not name.startswith(without):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.device}".encode())
            digest.update(_sampled(tensor))
    # On a CPU, sums may be taken in another order by another number of threads.
    return models.sha256, digest.hexdigest(), str(models.device), torch.get_num_threads()


def _plain(part: nn.Module) -> bool:
    """Whether `part` answers by its class and weights alone: no LoRA, no hook, no other forward, no dropout."""
    hooks = (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    # transformers' own only take notes; older versions leave a module's own forward on it.
    foreign = any(not getattr(hook, "__module__", "").startswith("transformers.") for hook in hooks)
    forward = vars(part).get("forward")
    replaced = forward is not None and getattr(forward, "__func__", None) is not type(part).forward
    return not (foreign or replaced or part.training or hasattr(part, "base_layer"))


def _sampled(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    step = max(1, flat.numel() // SAMPLES) | 1  # odd, so that it does not stay in a few columns
    return flat[::step].cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
