"""Captions as the UNet reads them, each made when it is first asked for: the first step waits for its own only."""

from __future__ import annotations

from functools import partial

import torch

from distill.conditioning import hidden_states
from distill.host import Models
from distill.training.encoded import MEMORY, stamp_of


class Embeddings:
    """Of captions (V, n, 77) while the text encoder is frozen.

    The first `wanted` ones are remembered for the next training (`encoded`), others only where there is room.
    """

    def __init__(self, models: Models, input_ids: torch.Tensor, clip_skip: int, wanted: int) -> None:
        self._models, self._input_ids, self._clip_skip, self._wanted = models, input_ids, clip_skip, wanted
        self._stamp = stamp_of(models, models.text_encoder)
        self._made: dict[int, torch.Tensor] = {}

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,) -> (B, 75 n + 2, C) in float32, on the models' device."""
        return torch.cat([self._of(row) for row in rows.tolist()])

    def _of(self, row: int) -> torch.Tensor:
        if row not in self._made:
            ids = self._input_ids[row]
            key = self._stamp and (self._stamp, self._clip_skip, tuple(ids.flatten().tolist()))
            make = partial(_embedding, self._models, ids, self._clip_skip)
            (self._made[row],) = MEMORY.recall(key, make, self._models.device, if_room=row >= self._wanted)
        return self._made[row]


@torch.no_grad()
def _embedding(models: Models, ids: torch.Tensor, clip_skip: int) -> tuple[torch.Tensor]:
    with torch.autocast(models.device.type, enabled=False):  # the step, in which it is asked for, may have its own
        return (hidden_states(models.text_encoder, ids[None], clip_skip).float(),)
