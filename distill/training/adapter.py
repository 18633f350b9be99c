"""LoRA in and out of a borrowed UNet or text encoder, by peft; ejecting leaves the module as it was.

Hu et al. 2021: a frozen Linear W learns W + alpha / rank * up(down(x)).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from distill.errors import TrainingError

# Attention and feed-forward Linears, by their paths in diffusers' UNet and transformers' CLIPTextModel.
TARGETS = {
    "unet": r".*\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)|.*\.ff\.net\.(0\.proj|2)",
    "text_encoder": r".*\.self_attn\.(q_proj|k_proj|v_proj|out_proj)|.*\.mlp\.(fc1|fc2)",
}
_ADAPTER = "distill"


@dataclass(frozen=True)
class Adapter:
    """The trainable layers of one module: `layers` maps a module path to peft's layer."""

    part: str  # "unet" or "text_encoder"
    alpha: float
    layers: dict[str, Any]

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor, float32, in a fixed order."""
        return [w for layer in self.layers.values() for w in (_down(layer), _up(layer))]

    def weights(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Copies on the CPU by module path: down (rank, in), up (out, rank)."""
        return {path: (_copy(_down(layer)), _copy(_up(layer))) for path, layer in self.layers.items()}


def _down(layer: Any) -> nn.Parameter:
    weight: nn.Parameter = layer.lora_A[_ADAPTER].weight
    return weight


def _up(layer: Any) -> nn.Parameter:
    weight: nn.Parameter = layer.lora_B[_ADAPTER].weight
    return weight


def _copy(weight: torch.Tensor) -> torch.Tensor:
    return weight.detach().to("cpu", torch.float32, copy=True)


@contextmanager
def attached(
    module: nn.Module, part: str, *, network_dim: int, network_alpha: float, generator: torch.Generator
) -> Iterator[Adapter]:
    """Put fresh LoRA layers into `module` for the length of a with block.

    On leaving, however it is left, the module has its own layers, modes and `requires_grad` back.
    Raises TrainingError when a target layer was not found.
    """
    before = _state_of(module)
    try:
        layers = _inject(module, part, network_dim, network_alpha)
        _initialize(layers, generator)
        yield Adapter(part, network_alpha, layers)
    finally:
        _eject(module)
        _restore(module, before)


@contextmanager
def weighted(adapters: Sequence[Adapter], weight: float) -> Iterator[None]:
    """The LoRA acts at `weight` for the length of a with block, as `<lora:name:weight>` would."""
    layers = [layer for adapter in adapters for layer in adapter.layers.values()]
    before = [layer.scaling[_ADAPTER] for layer in layers]
    try:
        for layer, scale in zip(layers, before, strict=True):
            layer.scaling[_ADAPTER] = weight * scale
        yield
    finally:
        for layer, scale in zip(layers, before, strict=True):
            layer.scaling[_ADAPTER] = scale


def _inject(module: nn.Module, part: str, network_dim: int, network_alpha: float) -> dict[str, Any]:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    pattern = re.compile(TARGETS[part])
    expected = {path for path, m in module.named_modules() if pattern.fullmatch(path) and isinstance(m, nn.Linear)}
    if not expected:
        raise TrainingError(
            f"Found no layers to train in the {part}.", "Nothing was changed; please report this model."
        )
    config = LoraConfig(r=network_dim, lora_alpha=network_alpha, target_modules=TARGETS[part])  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator; ours follows in _initialize
        inject_adapter_in_model(config, module, adapter_name=_ADAPTER)
    layers = {path: m for path, m in module.named_modules() if isinstance(m, LoraLayer)}
    if set(layers) != expected:
        missing = sorted(expected ^ set(layers))[:3]
        raise TrainingError(f"LoRA layers do not match the {part}: {', '.join(missing)}.", "Nothing was changed.")
    return layers


def _initialize(layers: dict[str, Any], generator: torch.Generator) -> None:
    # kohya's and peft's start: down = kaiming_uniform(a=sqrt(5)) = U(-1/sqrt(in), 1/sqrt(in)), up = 0.
    for layer in layers.values():
        layer.lora_A[_ADAPTER].to(torch.float32)
        layer.lora_B[_ADAPTER].to(torch.float32)
        down, up = _down(layer), _up(layer)
        bound = 1 / math.sqrt(down.shape[1])
        drawn = torch.rand(down.shape, generator=generator) * (2 * bound) - bound
        with torch.no_grad():
            down.copy_(drawn)
            up.zero_()


def _eject(module: nn.Module) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in [(p, m) for p, m in module.named_modules() if isinstance(m, BaseTunerLayer)]:
        parent_path, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent_path), name, layer.get_base_layer())
    module.__dict__.pop("peft_config", None)  # peft leaves it behind


def _state_of(module: nn.Module) -> tuple[dict[str, bool], dict[str, bool]]:
    modes = {path: m.training for path, m in module.named_modules()}
    return modes, {name: p.requires_grad for name, p in module.named_parameters()}


def _restore(module: nn.Module, before: tuple[dict[str, bool], dict[str, bool]]) -> None:
    modes, requires_grad = before
    for path, m in module.named_modules():
        m.training = modes[path]
    for name, p in module.named_parameters():
        p.requires_grad_(requires_grad[name])
        p.grad = None
