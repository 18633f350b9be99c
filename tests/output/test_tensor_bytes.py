"""What is written by hand is what safetensors reads, without a copy."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from distill.output import atomic, tensor_bytes


def test_safetensors_reads_every_kind_of_number(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {"generator": generator.get_state()[:5001]}  # an odd number of bytes, before wider numbers by its name
    for dtype in tensor_bytes.TYPE_NAMES:
        tensors[f"z.{dtype}"] = torch.randint(0, 2, (3, 5), generator=generator).to(dtype)
        tensors[f"step.{dtype}"] = torch.ones((), dtype=dtype)
    tensors["turned"] = torch.arange(12.0).reshape(3, 4).T
    tensors["none"] = torch.zeros(0, 4)
    in_order = tensor_bytes.ordered(tensors)
    path = tmp_path / "all.safetensors"
    atomic.write(path, tensor_bytes.header(in_order, {}), *map(tensor_bytes.data, in_order.values()))
    found = load_file(str(path))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_bytes_are_the_tensor_s_own() -> None:
    tensor = torch.zeros(4)
    data = tensor_bytes.data(tensor)
    tensor[0] = 1
    assert bytes(data)[:4] != bytes(4)
