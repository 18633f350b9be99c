"""Whether a step fits in the memory that is free, asked before the first one.

A card's driver may lend the machine's memory instead of refusing, and a machine may begin to swap: nothing fails then,
and each step takes ten times as long. What a step keeps for its way back is measured, in a pass over a corner.
"""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch

from distill.host import Models
from distill.options import Options
from distill.training.adapter import Adapter
from distill.training.encode import DataSet
from distill.training.lean import lean
from distill.training.loop import training_mode
from distill.training.memory import can_go_in_pieces
from distill.training.passes import prediction
from distill.training.state import Course

CORNER = 16
"""Edge of the latents that are tried; what is kept grows with their number."""
PEAK = 1.5
"""The most that a step takes at once, over what it keeps: 1.8 over 1.2 GB with SD1.5 at 512 px in float32."""
PLENTY = 4e9
"""Bytes for one picture of 512 px that are enough, whatever is trained."""


def plan(models: Models, data: DataSet, adapters: Sequence[Adapter], options: Options, course: Course) -> str:
    """Set how the course goes where a step would not fit, and say so; "" where it does, or where nobody knows."""
    free, batch = free_bytes(models.device), options.train.batch_size
    latents = max(item.mean.shape[-2] * item.mean.shape[-1] for item in (*data.items, *data.class_items))
    if free is None or free > PLENTY * batch * latents / 64**2:
        return ""
    checkpoints = options.train.gradient_checkpointing
    one = PEAK * kept_bytes(models, data, adapters, options, checkpoints=checkpoints) * latents / CORNER**2
    if one * batch <= free:
        return ""
    said = f"A step takes about {one * batch / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    course.in_pieces = can_go_in_pieces(options)
    if course.in_pieces and one <= free:
        return f"{said}: the pictures of a batch go one at a time. The LoRA is the same."
    course.checkpoints = not checkpoints
    if course.checkpoints:
        return f"{said}: it goes with gradient checkpointing, more slowly. The LoRA is the same."
    return f"{said}, which may be too little: choose a smaller resolution where it gets slow or ends."


def free_bytes(device: torch.device) -> int | None:
    """What can be had there now; None where it can't be asked for."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return int(psutil.virtual_memory().available) if device.type == "cpu" else None


def kept_bytes(
    models: Models,
    data: DataSet,
    adapters: Sequence[Adapter],
    options: Options,
    *,
    checkpoints: bool,
    edge: int = CORNER,
) -> int:
    """What a step on `edge` x `edge` latents keeps for its way back, beside the weights."""
    weights = {t.untyped_storage().data_ptr() for part in (models.unet, models.text_encoder) for t in part.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    rows = torch.tensor([0])
    noisy = torch.zeros((1, data.items[0].mean.shape[1], edge, edge), device=models.device)
    timesteps = torch.tensor([500], device=models.device)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with training_mode(models, checkpoints), lean(models, adapters, options), hooks:
        answer = prediction(models, data, options.caption.clip_skip, noisy, timesteps, rows)
        assert answer.requires_grad, "something is trained"
    return sum(size for place, size in sizes.items() if place not in weights)
