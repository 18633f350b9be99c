"""LDM's UNet, VAE and CLIP as trees of modules around a checkpoint file's tensors; nothing is computed with them."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from distill.hosts.kinds import TEXT, UNET, VAE


class Node(nn.Module):
    """A module with children only; LDM's attention knows its heads."""


class Layer(nn.Module):
    """A module with weights: what a LoRA is merged into."""

    @property
    def names(self) -> list[str]:
        return list(self._parameters)


class Wrapped(nn.Module):
    """CLIP's token embedding as both hosts wrap it, for textual inversion."""

    def __init__(self, wrapped: nn.Module, *, twice: bool) -> None:
        super().__init__()
        self.wrapped = wrapped
        if twice:  # Forge's shows its weight under its own name as well
            self.weight = wrapped.weight


def tree(tensors: dict[str, torch.Tensor], heads: int) -> Node:
    """Modules whose parameters carry the given names, trainable as A1111's are."""
    root = Node()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        if last == "position_ids":
            continue
        module: nn.Module = root
        for depth, part in enumerate(path):
            child = module._modules.get(part)
            if child is None:
                child = Layer() if depth == len(path) - 1 else Node()
                module.add_module(part, child)
            module = child
            if part in ("attn1", "attn2"):
                module.heads = heads
        module.register_parameter(last, nn.Parameter(tensor))
    return root


def split(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def unet(tensors: dict[str, torch.Tensor], heads: int) -> Node:
    return tree(split(tensors, UNET), heads)


def vae(tensors: dict[str, torch.Tensor]) -> Node:
    return tree(split(tensors, VAE), 0)


def text_encoder(tensors: dict[str, torch.Tensor], heads: int, *, twice: bool) -> Node:
    root = tree(split(tensors, TEXT), 0)
    embeddings = root.get_submodule("text_model.embeddings")
    embeddings.token_embedding = Wrapped(embeddings.token_embedding, twice=twice)
    root.config = SimpleNamespace(num_attention_heads=heads)
    return root


def layers(*roots: nn.Module) -> list[tuple[str, Layer]]:
    """Every layer with weights, under names that no two share."""
    return [(f"{i}.{n}", m) for i, root in enumerate(roots) for n, m in root.named_modules() if isinstance(m, Layer)]


def delta(name: str, lora: str, weight: torch.Tensor) -> torch.Tensor | None:
    """What a LoRA of this name adds to a layer's weight, in fp32; None where it has no layer, as real ones mostly."""
    if ".attn" not in name and ".self_attn" not in name:
        return None
    generator = torch.Generator().manual_seed(sum(map(ord, name + lora)))
    return torch.randn(weight.shape, generator=generator) * 0.1
