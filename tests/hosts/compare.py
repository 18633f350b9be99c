"""What a borrowed model is compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from distill.hosts.kinds import TEXT, UNET, VAE
from tests.models import ldm_file


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(bits(a[key]), bits(b[key])) for key in a)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten().view(torch.uint8)


def from_file(models: Any, path: Path) -> None:
    """The view has exactly the tensors that the file has."""
    want = load_file(str(path))
    parts = {
        UNET: ldm_file.unet_tensors(models.unet),
        VAE: ldm_file.vae_tensors(models.vae),
        TEXT: ldm_file.text_tensors(models.text_encoder),
    }
    for prefix, tensors in parts.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, want[prefix + name].reshape(tensor.shape)), prefix + name
    assert sum(map(len, parts.values())) == len(want) - 1  # but for "betas"
