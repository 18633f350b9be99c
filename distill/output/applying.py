"""LoRA files on a borrowed model for the length of a with block, without touching its weights.

y = W x + weight * alpha / rank * up(down(x)), by a forward hook on each layer (Hu et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from distill.conditioning import hidden_states, tokenize
from distill.errors import OutputError
from distill.host import Models
from distill.output.lora_file import Lora, kohya_name
from distill.output.lora_layers import Layer, LoraLayer


@contextmanager
def applied(models: Models, loras: Sequence[tuple[Lora, float]]) -> Iterator[None]:
    """Add each LoRA with its weight to UNet and text encoder; on leaving, no hook is left.

    Raises OutputError when a LoRA has layers that the models have not, or of another size.
    """
    targets = _targets(models)
    wanted = [_matched(lora, targets) for lora, _ in loras]
    with ExitStack() as stack:
        for layers, (_, weight) in zip(wanted, loras, strict=True):
            for module, layer in layers if weight else ():
                handle = module.register_forward_hook(_hook(module, layer, weight, models))
                stack.callback(handle.remove)
        yield


def changes(models: Models, lora: Lora, latents: torch.Tensor, prompt: str, clip_skip: int) -> None:
    """Raises OutputError unless `lora` changes what the UNet says of `latents` (1, 4, h, w), to something finite."""
    noisy = latents.to(models.dtype)
    timestep = torch.tensor([500], device=noisy.device)
    ids = tokenize(models.tokenizer, [prompt]).to(noisy.device)
    with torch.no_grad():
        states = hidden_states(models.text_encoder, ids, clip_skip)
        without = models.unet(noisy, timestep, states).sample
        with applied(models, [(lora, 1.0)]):
            states = hidden_states(models.text_encoder, ids, clip_skip)
            changed = models.unet(noisy, timestep, states).sample
    if not torch.isfinite(changed).all():
        raise OutputError("The new LoRA breaks the model's answer.", "Lower the learning rate; nothing was saved.")
    if torch.equal(without, changed):
        raise OutputError("The new LoRA changes nothing.", "Raise the learning rate; nothing was saved.")


def _targets(models: Models) -> dict[str, nn.Module]:
    parts = {"unet": models.unet, "text_encoder": models.text_encoder}
    return {
        kohya_name(part, path): module
        for part, root in parts.items()
        for path, module in root.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _matched(lora: Lora, targets: dict[str, nn.Module]) -> list[tuple[nn.Module, Layer]]:
    name = lora.metadata.get("ss_output_name", "The LoRA")
    unknown = [key for key in lora.layers if key not in targets]
    if unknown:
        raise OutputError(
            f"{name} does not fit this checkpoint: it has no layer for {len(unknown)} keys, for example {unknown[0]}.",
            "Use a LoRA for SD1.5 with kohya's names.",
        )
    for key, layer in lora.layers.items():
        wanted = _shape(targets[key])
        found = layer.shape
        # A 1x1 convolution may be kept as a matrix and the other way round; LyCORIS keeps every kernel flat.
        if _bare(wanted) != _bare(found) and _flat(wanted) != found:
            raise OutputError(
                f"{name} was made for another model: {key} is {found}, this checkpoint's is {wanted}.",
                "Use the checkpoint that it was trained on, or one of the same size.",
            )
    return [(targets[key], layer) for key, layer in lora.layers.items()]


def _shape(module: nn.Module) -> tuple[int, ...]:
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return tuple(weight.shape)


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], math.prod(shape[1:]))


def _hook(module: nn.Module, layer: Layer, weight: float, models: Models) -> Callable[..., Any]:
    if isinstance(layer, LoraLayer):
        return _lora_hook(module, layer, weight, models)
    change = (weight * layer.delta()).reshape(_shape(module)).to(models.device, models.dtype)

    def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        x = inputs[0].to(change.dtype)
        if isinstance(module, nn.Conv2d):
            return output + F.conv2d(x, change, None, module.stride, module.padding, module.dilation).to(output.dtype)
        return output + F.linear(x, change).to(output.dtype)

    return hook


def _lora_hook(module: nn.Module, layer: LoraLayer, weight: float, models: Models) -> Callable[..., Any]:
    down = layer.down.to(models.device, models.dtype)
    up = layer.up.to(models.device, models.dtype)
    scale = weight * layer.alpha / layer.rank
    if isinstance(module, nn.Conv2d):
        down, up = (w if w.ndim == 4 else w[:, :, None, None] for w in (down, up))
        geometry: dict[str, Any] = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}

        def through(x: torch.Tensor) -> torch.Tensor:
            return F.conv2d(F.conv2d(x, down, **geometry), up)
    else:
        down, up = down.flatten(1), up.flatten(1)

        def through(x: torch.Tensor) -> torch.Tensor:
            return F.linear(F.linear(x, down), up)

    def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output + scale * through(inputs[0].to(down.dtype)).to(output.dtype)

    return hook
