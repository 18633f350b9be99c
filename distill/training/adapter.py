"""LoRA and its relatives in and out of a borrowed UNet or text encoder, by peft; ejecting leaves it as it was.

Hu et al. 2021: a frozen layer W learns W + alpha / rank * up(down(x)). LoCon does so for convolutions too; LoHa and
LoKr (Yeh et al. 2023, "LyCORIS") put the change together from elementwise and Kronecker products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from distill.errors import TrainingError
from distill.options import NetworkOptions
from distill.training import starts
from distill.training.targets import Target, targets_of

_ADAPTER = "distill"

KEYS = {
    "lora": {"lora_A": "lora_down.weight", "lora_B": "lora_up.weight"},
    "loha": {name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    "lokr": {
        name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
    },
}
"""peft's names of a layer's tensors, and those of the file."""


@dataclass(frozen=True)
class Adapter:
    """The trainable layers of one module: `layers` maps a module path to peft's layer."""

    part: str  # "unet" or "text_encoder"
    form: str  # a key of KEYS
    layers: dict[str, Any]
    targets: dict[str, Target] = field(default_factory=dict)  # of the same paths

    def tensors(self, path: str) -> dict[str, nn.Parameter]:
        """The trainable tensors of one layer by their names in the file, float32."""
        layer, found = self.layers[path], {}
        for ours, name in KEYS[self.form].items():
            held = getattr(layer, ours, {})
            if _ADAPTER in held:
                found[name] = held[_ADAPTER].weight if self.form == "lora" else held[_ADAPTER]
        return found

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor in a fixed order."""
        return [tensor for path in self.layers for tensor in self.tensors(path).values()]

    def rates(self, up_ratio: float = 1.0) -> dict[float, list[nn.Parameter]]:
        """The trainable tensors by how much of the learning rate they get, lora_up `up_ratio` times as much.

        LoRA+ (Hayou et al. 2024): LoHa and LoKr have no such half.
        """
        found: dict[float, list[nn.Parameter]] = {}
        for path in self.layers:
            for name, tensor in self.tensors(path).items():
                ratio = up_ratio if name == "lora_up.weight" else 1.0
                found.setdefault(self.targets[path].rate * ratio, []).append(tensor)
        return found

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Copies on the CPU by module path and name, each layer's `alpha` with them."""
        return {
            path: {name: _copy(tensor) for name, tensor in self.tensors(path).items()}
            | {"alpha": torch.tensor(self.targets[path].alpha)}
            for path in self.layers
        }


def _copy(weight: torch.Tensor) -> torch.Tensor:
    return weight.detach().to("cpu", torch.float32, copy=True)


@contextmanager
def attached(module: nn.Module, part: str, options: NetworkOptions, generator: torch.Generator) -> Iterator[Adapter]:
    """Put fresh layers into `module` for the length of a with block.

    On leaving, however it is left, the module has its own layers, modes and `requires_grad` back.
    Raises TrainingError when a target layer was not found.
    """
    form = options.network_type if options.network_type in KEYS else "lora"  # LoCon is LoRA on more layers
    targets = targets_of(module, part, options)
    before = _state_of(module)
    try:
        adapter = Adapter(part, form, _inject(module, part, form, targets, options), targets)
        for path in adapter.layers:
            starts.FORMS[form](adapter.tensors(path), generator)
        yield adapter
    finally:
        _eject(module)
        _restore(module, before)


@contextmanager
def given_back(tensors: Sequence[torch.Tensor]) -> Iterator[None]:
    """Whatever happens to their values in a with block, they have the old ones after it, to the bit."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, kept in zip(tensors, before, strict=True):
            tensor.data.copy_(kept)


@contextmanager
def weighted(adapters: Sequence[Adapter], weight: float) -> Iterator[None]:
    """The LoRA acts at `weight` for the length of a with block, as `<lora:name:weight>` would."""
    # One factor of each layer's product is scaled: peft's LoKr knows no scale before 0.14.
    tensors = [next(iter(adapter.tensors(path).values())) for adapter in adapters for path in adapter.layers]
    with given_back(tensors):
        for tensor in tensors:
            tensor.data.mul_(weight)
        yield


@contextmanager
def switched_off(adapters: Sequence[Adapter]) -> Iterator[None]:
    """The layers answer as if there were no LoRA, to the bit, for the length of a with block."""
    layers = [layer for adapter in adapters for layer in adapter.layers.values()]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def _inject(
    module: nn.Module, part: str, form: str, targets: dict[str, Target], options: NetworkOptions
) -> dict[str, Any]:
    from peft import inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not targets:
        raise TrainingError(
            f"Found no layers to train in the {part}.",
            "Nothing was changed; block weights that are all 0 leave none.",
        )
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator; ours follows in `starts`
        inject_adapter_in_model(_config(form, targets, options), module, adapter_name=_ADAPTER)
    layers = {path: m for path, m in module.named_modules() if isinstance(m, BaseTunerLayer)}
    if set(layers) != set(targets):
        missing = sorted(set(targets) ^ set(layers))[:3]
        raise TrainingError(f"LoRA layers do not match the {part}: {', '.join(missing)}.", "Nothing was changed.")
    return {path: _in_float32(layers[path]) for path in targets}


def _config(form: str, targets: dict[str, Target], options: NetworkOptions) -> Any:
    from peft import LoHaConfig, LoKrConfig, LoraConfig

    ranks = {path: target.rank for path, target in targets.items() if target.rank != options.network_dim}
    alphas = {path: target.alpha for path, target in targets.items() if target.alpha != options.network_alpha}
    common: dict[str, Any] = {"target_modules": list(targets), "rank_pattern": ranks, "alpha_pattern": alphas}
    common["r"] = options.network_dim
    if form == "lora":
        return LoraConfig(**common, lora_alpha=options.network_alpha)  # type: ignore[arg-type]
    if form == "loha":
        return LoHaConfig(**common, alpha=options.network_alpha)  # type: ignore[arg-type]
    return LoKrConfig(**common, alpha=options.network_alpha, decompose_factor=options.lokr_factor)  # type: ignore[arg-type]


def _in_float32(layer: Any) -> Any:
    for names in KEYS.values():
        for name in names:
            held = getattr(layer, name, {})
            if _ADAPTER in held:
                tensor = held[_ADAPTER].weight if isinstance(held[_ADAPTER], nn.Module) else held[_ADAPTER]
                tensor.data = tensor.data.float()
    return layer


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
