"""Reads every attribute off a pocket-world picture, kept-out ones too, and says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distill.pocket.world import VALUES

if TYPE_CHECKING:
    import torch
    from PIL import Image

WEIGHTS = Path(__file__).resolve().parent / "judge.safetensors"
SIDE_PX = 128

Reading = dict[str, tuple[str, float]]
"""Attribute -> value and its probability."""


def build_network() -> torch.nn.Sequential:
    """(B, 3, 128, 128) in -1..1 -> (B, all values of all attributes) logits; 0.76 M parameters."""
    from torch import nn

    def halve(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    def keep(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]

    return nn.Sequential(
        *halve(3, 24),
        *halve(24, 40),
        *keep(40),
        *halve(40, 80),
        *keep(80),
        *halve(80, 128),
        *halve(128, 128),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128 * 16, 192),
        nn.ReLU(),
        nn.Linear(192, sum(len(values) for values in VALUES.values())),
    )


def split_logits(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """(B, all values) -> attribute -> (B, its values), in the order of `VALUES`."""
    parts: dict[str, torch.Tensor] = {}
    start = 0
    for name, values in VALUES.items():
        parts[name] = logits[..., start : start + len(values)]
        start += len(values)
    return parts


class Judge:
    """The trained network, ready to read pictures on the CPU."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from safetensors.torch import load_file

        self.network = build_network()
        self.network.load_state_dict({name: weight.float() for name, weight in load_file(str(weights)).items()})
        self.network.eval()

    def read(self, image: Image.Image) -> Reading:
        """Every attribute's value with its probability; a picture of another size is resized to 128 px."""
        return self.read_all([image])[0]

    def read_all(self, images: Sequence[Image.Image]) -> list[Reading]:
        """Read many pictures, at most 64 at once."""
        import torch

        readings: list[Reading] = []
        for start in range(0, len(images), 64):
            with torch.inference_mode():
                logits = self.network(_to_tensor(images[start : start + 64]))
            readings += _readings(logits)
        return readings


def _to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    import numpy as np
    import torch
    from PIL import Image

    sized = [image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX) for image in images]
    stacked = np.stack([np.asarray(image, dtype=np.float32) for image in sized])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2) / 127.5 - 1


def _readings(logits: torch.Tensor) -> list[Reading]:
    readings: list[Reading] = [{} for _ in range(len(logits))]
    for name, part in split_logits(logits).items():
        confidence, index = part.softmax(dim=-1).max(dim=-1)
        for reading, i, sure in zip(readings, index.tolist(), confidence.tolist(), strict=True):
            reading[name] = (VALUES[name][i], sure)
    return readings


def agreement(reading: Reading, expected: dict[str, str]) -> dict[str, bool]:
    """For each expected attribute whether the judge reads that value."""
    return {name: reading[name][0] == value for name, value in expected.items()}
