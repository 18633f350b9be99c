"""Tensors as the bytes of a `.safetensors`, without a second copy of them.

Its own writer makes three and holds Python's lock meanwhile, so that a thread that writes would stop all others; and it
puts the metadata in another order each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

TYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def ordered(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By name; wider numbers first, so that each tensor begins at a multiple of its numbers' size."""
    return dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))


def header(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file's head for tensors that are `ordered`."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def data(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, where they are."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
