"""A pass of the UNet over a batch: what it is given, what it answers and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from distill.conditioning import hidden_states
from distill.host import Models
from distill.training.encode import DataSet


@dataclass(frozen=True)
class Batch:
    """B pictures under noise, and what should be said about them."""

    noisy_latents: torch.Tensor  # (B, 4, h, w)
    timesteps: torch.Tensor  # (B,)
    target: torch.Tensor  # (B, 4, h, w)
    weights: torch.Tensor  # (B,) what each one's error counts
    mask: torch.Tensor | None  # (B, 1, h, w) in [0, 1]
    rows: torch.Tensor  # (B,) of the data set's captions, on the CPU

    def __len__(self) -> int:
        return len(self.rows)

    def pieces(self, one_by_one: bool) -> list[Batch]:
        """Which of its pictures are computed together."""
        return [self._only(slice(i, i + 1)) for i in range(len(self))] if one_by_one else [self]

    def _only(self, piece: slice) -> Batch:
        return Batch(
            self.noisy_latents[piece],
            self.timesteps[piece],
            self.target[piece],
            self.weights[piece],
            None if self.mask is None else self.mask[piece],
            self.rows[piece],
        )


def prediction(
    models: Models,
    data: DataSet,
    clip_skip: int,
    noisy_latents: torch.Tensor,
    timesteps: torch.Tensor,
    rows: torch.Tensor,
) -> torch.Tensor:
    """The UNet's answer (B, 4, h, w) in float32, given the captions in `rows` (B,)."""
    if data.encoder_hidden_states is not None:
        states = data.encoder_hidden_states.of(rows)  # (B, 75 n + 2, C)
    else:
        with _computing(models):
            states = hidden_states(models.text_encoder, data.input_ids[rows], clip_skip)
    return answer(models, noisy_latents, timesteps, states)


def answer(models: Models, noisy_latents: torch.Tensor, timesteps: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """The UNet's (B, 4, h, w) in float32, given captions as `states` (B, 75 n + 2, C)."""
    with _computing(models):
        said: torch.Tensor = models.unet(noisy_latents, timesteps, states).sample
    return said.float()


def loss_of(
    noise_pred: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """The weighed mean (,) of the squared errors; shapes as in a `Batch`."""
    errors = F.mse_loss(noise_pred, target, reduction="none")  # (B, 4, h, w)
    errors = errors if mask is None else errors * mask
    return (errors.mean((1, 2, 3)) * weights).mean()


def _computing(models: Models) -> torch.autocast:
    """In the models' type. Nothing that was cast is kept: in a pass each weight is read once, and a recorded one would
    read it ever after as it was.
    """
    half = models.dtype != torch.float32
    return torch.autocast(models.device.type, models.dtype, enabled=half, cache_enabled=False)
