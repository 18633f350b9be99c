"""The step, on one page. Stopping is to stop iterating."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch

from distill.errors import TrainingError
from distill.host import Models
from distill.options import Options
from distill.training.adapter import Adapter
from distill.training.averages import limit_norms
from distill.training.dropout import Dropout
from distill.training.encode import DataSet
from distill.training.graphed import graphed
from distill.training.lean import lean
from distill.training.noise import diffuse, draw_noise, draw_timesteps, loss_weights, perturbed, target_of
from distill.training.passes import Batch, loss_of, prediction
from distill.training.prior import teacher_asked, teacher_losses
from distill.training.state import Course


@dataclass(frozen=True)
class Step:
    """One optimizer step, just done."""

    index: int  # 1 ... total
    total: int
    loss: float
    lr: float  # of the UNet
    text_encoder_lr: float | None = None  # while it is trained
    d_lr: float | None = None  # what Prodigy makes of `lr`


def train(
    models: Models,
    data: DataSet,
    adapters: Sequence[Adapter],
    options: Options,
    *,
    generator: torch.Generator,
    course: Course | None = None,
) -> Iterator[Step]:
    """Yield each step after it was taken; the LoRA weights are in `adapters`. A `course` goes on from where it is.

    Raises TrainingError at the first loss or gradient that is not finite, before the weights are touched.
    """
    recipe = options.train
    total = data.epoch_steps(recipe) * recipe.epochs
    course = course or Course(models, adapters, options, total, generator)
    optimizer, schedule, scaler = course.optimizer, course.schedule, course.scaler
    alphas_cumprod = models.alphas_cumprod.to(models.device)
    draws = data.draws(recipe, generator, course.orders, course.drawn)
    dropout = Dropout(options.network)
    mode = training_mode(models, recipe.gradient_checkpointing or course.checkpoints)
    eager = partial(_add_gradients, models, data, adapters, options, course)
    with (
        mode,
        dropout.on(adapters),
        lean(models, adapters, options),
        graphed(eager, models, data, adapters, options, course, total) as add_gradients,
    ):
        for index in range(course.step + 1, total + 1):
            loss_sum = 0.0
            course.begin()
            for _ in range(recipe.gradient_accumulation):
                # 1. draw latents, captions, noise and timesteps, all from the one generator on the CPU
                drawn = next(draws)
                latents = drawn.latents  # (B, 4, h, w)
                noise = draw_noise(latents, options.noise, generator)
                timesteps = draw_timesteps(len(latents), options.noise, generator).to(models.device)
                dropout.begin(generator)
                # 2. diffuse, choose the target
                noisy_latents = diffuse(latents, perturbed(noise, options.noise, generator), timesteps, alphas_cumprod)
                target = target_of(latents, noise, timesteps, alphas_cumprod, models.prediction_type)
                # 3. predict, weigh
                weights = loss_weights(timesteps, alphas_cumprod, options.noise, models.prediction_type)
                batch = Batch(noisy_latents, timesteps, target, weights * drawn.weight, drawn.mask, drawn.rows)
                for piece in batch.pieces(course.in_pieces):
                    loss_sum += add_gradients(piece, len(piece) / len(batch) / recipe.gradient_accumulation)
            # 4. step
            _check_finite(loss_sum, index)
            scaler.unscale_(optimizer)
            _clip(adapters, recipe.max_grad_norm, index, strict=not scaler.is_enabled())
            rates = course.rates()
            course.seal()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if options.network.scale_weight_norms:
                limit_norms(adapters, options.network.scale_weight_norms)
            course.taken(recipe.gradient_accumulation)
            yield Step(index, total, loss_sum, *rates)


def _add_gradients(
    models: Models,
    data: DataSet,
    adapters: Sequence[Adapter],
    options: Options,
    course: Course,
    batch: Batch,
    share: float,
) -> float:
    """Those of `share` of the loss, which is the answer; no autograd graph is left behind."""
    predict = partial(prediction, models, data, options.caption.clip_skip, batch.noisy_latents, batch.timesteps)
    loss = loss_of(predict(batch.rows), batch.target, batch.weights, batch.mask)
    loss_sum = 0.0
    recipe = options.regularization
    asked = teacher_asked(recipe, course.step)
    for part in chain([loss], teacher_losses(predict, data, batch.rows, adapters, recipe) if asked else ()):
        course.scaler.scale(part * share).backward()  # type: ignore[no-untyped-call]
        loss_sum += part.item() * share
    return loss_sum


def _check_finite(value: float, index: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss is not a finite number at step {index}.", "Try a lower learning rate or a lower rank."
        )


def _clip(adapters: Sequence[Adapter], max_grad_norm: float, index: int, *, strict: bool) -> None:
    parameters = [p for a in adapters for p in a.parameters()]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm or math.inf)
    if strict:  # a loss scaler skips such a step by itself and lowers its scale
        _check_finite(norm.item(), index)


@contextmanager
def training_mode(models: Models, gradient_checkpointing: bool) -> Iterator[None]:
    """Older diffusers checkpoint only in train mode; SD1.5 has no dropout, so it changes no result."""
    if not gradient_checkpointing:
        yield
        return
    models.unet.train()
    models.unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        models.unet.disable_gradient_checkpointing()
