"""What keeps the class as the checkpoint knows it: class pictures as kohya counts them, and the teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image

from distill.options import RegularizationOptions
from distill.training.adapter import Adapter, switched_off
from distill.training.encode import DataSet


@dataclass(frozen=True)
class ClassPicture:
    """A picture of the class, and what it is trained as."""

    image: Image.Image | torch.Tensor  # or its latents (1, 4, h, w)
    caption: str
    repeats: int = 1  # of its folder
    folder: str = ""  # that one's name


def balanced(repeats: Sequence[int], own_draws: int) -> list[int]:
    """How often each class picture comes in an epoch that has `own_draws` of the subject's pictures.

    `repeats` are those of their folders. Taken in order until there are enough, then once more each from the first on;
    what is behind the last one taken is not used (kohya sd-scripts, `train_util.DreamBoothDataset`).
    """
    taken: list[int] = []
    for repeat in repeats:
        if sum(taken) >= own_draws:
            break
        taken.append(repeat)
    for i in range(own_draws - sum(taken) if taken else 0):
        taken[i % len(taken)] += 1
    return taken


def without_trigger(caption: str, first: str, class_word: str) -> str:
    """The caption with the class alone in place of `first`, the tag that has trigger and class; of "" the class."""
    return ", ".join(class_word if tag in (first, "") else tag for tag in caption.split(", "))


def teacher_asked(options: RegularizationOptions, step: int) -> bool:
    """Whether the step after the first `step` ones asks a teacher: the last one of every so many."""
    has_one = bool(options.teacher_class or options.teacher_blank)
    return has_one and (step + 1) % options.teacher_every == 0


def teacher_losses(
    predict: Callable[[torch.Tensor], torch.Tensor],
    data: DataSet,
    rows: torch.Tensor,
    adapters: Sequence[Adapter],
    options: RegularizationOptions,
) -> Iterator[torch.Tensor]:
    """How far the LoRA moves what the checkpoint itself says at the same noisy latents and timesteps.

    First of the captions in `rows` (B,) with the class in place of the trigger, then of the empty caption; each only
    where the options ask for it. `predict` is rows -> noise_pred (B, 4, h, w). Each costs two more passes of the UNet,
    one of them without gradient. They come one by one, so that only one's activations need be held at a time.
    ai-toolkit's `diff_output_preservation` and `blank_prompt_preservation`, OneTrainer's `PRIOR_PREDICTION`.
    """
    asked = []
    if options.teacher_class:
        assert data.class_rows is not None, "the data set was made for a teacher"
        asked.append((options.teacher_class, data.class_rows[rows]))
    if options.teacher_blank:
        asked.append((options.teacher_blank, torch.full_like(rows, data.blank)))
    for weight, bare in asked:
        with torch.no_grad(), switched_off(adapters):
            expected = predict(bare)
        yield weight * F.mse_loss(predict(bare), expected)
