"""The step, on one page. Stopping is to stop iterating."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from distill.conditioning import hidden_states
from distill.errors import TrainingError
from distill.host import Models
from distill.options import Options
from distill.training import optimizers
from distill.training.adapter import Adapter
from distill.training.averages import limit_norms
from distill.training.dropout import Dropout
from distill.training.encode import DataSet
from distill.training.noise import diffuse, draw_noise, draw_timesteps, loss_weights, perturbed, target_of


@dataclass(frozen=True)
class Step:
    """One optimizer step, just done."""

    index: int  # 1 ... total
    total: int
    loss: float
    lr: float  # of the UNet


def train(
    models: Models,
    data: DataSet,
    adapters: Sequence[Adapter],
    options: Options,
    *,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Yield each step after it was taken; the LoRA weights are in `adapters`.

    Raises TrainingError at the first loss or gradient that is not finite, before the weights are touched.
    """
    recipe, clip_skip = options.train, options.caption.clip_skip
    total = data.epoch_steps(recipe) * recipe.epochs
    optimizer = optimizers.make(adapters, recipe)
    schedule = optimizers.schedule(optimizer, recipe, total)
    scaler = _grad_scaler(models)
    alphas_cumprod = models.alphas_cumprod.to(models.device)
    draws = data.draws(recipe.batch_size, generator)
    dropout = Dropout(options.network)
    with _training_mode(models, recipe.gradient_checkpointing), dropout.on(adapters):
        for index in range(1, total + 1):
            loss_sum = 0.0
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
                with torch.autocast(models.device.type, models.dtype, enabled=models.dtype != torch.float32):
                    states = _conditioning(models, data, drawn.rows, clip_skip)  # (B, 77, C)
                    noise_pred = models.unet(noisy_latents, timesteps, states).sample
                errors = F.mse_loss(noise_pred.float(), target, reduction="none")  # (B, 4, h, w)
                errors = errors if drawn.mask is None else errors * drawn.mask
                weights = loss_weights(timesteps, alphas_cumprod, options.noise, models.prediction_type)
                loss = (errors.mean((1, 2, 3)) * weights * drawn.weight).mean()
                scaler.scale(loss / recipe.gradient_accumulation).backward()  # type: ignore[no-untyped-call]
                loss_sum += loss.item()
            # 4. step
            mean_loss = loss_sum / recipe.gradient_accumulation
            _check_finite(mean_loss, index)
            scaler.unscale_(optimizer)
            _clip(adapters, recipe.max_grad_norm, index, strict=not scaler.is_enabled())
            lr = optimizer.param_groups[0]["lr"]
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if options.network.scale_weight_norms:
                limit_norms(adapters, options.network.scale_weight_norms)
            yield Step(index, total, mean_loss, lr)


def _grad_scaler(models: Models) -> torch.amp.GradScaler:
    enabled = models.dtype == torch.float16
    if not hasattr(torch.amp, "GradScaler"):  # torch before 2.3, as in A1111
        return torch.cuda.amp.GradScaler(enabled=enabled)
    return torch.amp.GradScaler(models.device.type, enabled=enabled)


def _conditioning(models: Models, data: DataSet, captions: torch.Tensor, clip_skip: int) -> torch.Tensor:
    if data.encoder_hidden_states is not None:
        return data.encoder_hidden_states[captions]
    return hidden_states(models.text_encoder, data.input_ids[captions], clip_skip)


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
def _training_mode(models: Models, gradient_checkpointing: bool) -> Iterator[None]:
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
