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
from distill.options import TrainOptions
from distill.training.adapter import Adapter
from distill.training.encode import DataSet
from distill.training.noise import diffuse, target_of


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
    options: TrainOptions,
    *,
    clip_skip: int,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Yield each step after it was taken; the LoRA weights are in `adapters`.

    Raises TrainingError at the first loss or gradient that is not finite, before the weights are touched.
    """
    optimizer = _optimizer(adapters, options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: lr_factor(done, options))
    scaler = _grad_scaler(models)
    alphas_cumprod = models.alphas_cumprod.to(models.device)
    with _training_mode(models, options.gradient_checkpointing):
        for index in range(1, options.steps + 1):
            # 1. draw latents, captions, noise and timesteps, all from the one generator on the CPU
            latents = data.draw_latents(options.batch_size, generator)  # (B, 4, h, w)
            captions = data.draw_captions(options.batch_size, generator)  # (B,)
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            timesteps = torch.randint(len(alphas_cumprod), (options.batch_size,), generator=generator).to(models.device)
            # 2. diffuse, choose the target
            noisy_latents = diffuse(latents, noise, timesteps, alphas_cumprod)
            target = target_of(latents, noise, timesteps, alphas_cumprod, models.prediction_type)
            # 3. predict, weigh
            with torch.autocast(models.device.type, models.dtype, enabled=models.dtype != torch.float32):
                states = _conditioning(models, data, captions, clip_skip)  # (B, 77, C)
                noise_pred = models.unet(noisy_latents, timesteps, states).sample
            loss = F.mse_loss(noise_pred.float(), target)
            # 4. step
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            _check_finite(loss.item(), index)
            scaler.unscale_(optimizer)
            _clip(adapters, options.max_grad_norm, index, strict=not scaler.is_enabled())
            lr = optimizer.param_groups[0]["lr"]
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            yield Step(index, options.steps, loss.item(), lr)


def lr_factor(done: int, options: TrainOptions) -> float:
    """Share of the learning rate after `done` steps: linear warm-up, then constant or a half cosine to 0."""
    warmup = round(options.lr_warmup * options.steps)
    if done < warmup:
        return (done + 1) / warmup
    if options.lr_scheduler == "constant":
        return 1.0
    progress = (done - warmup) / max(1, options.steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _optimizer(adapters: Sequence[Adapter], options: TrainOptions) -> torch.optim.AdamW:
    rates = {"unet": options.unet_lr, "text_encoder": options.text_encoder_lr}
    groups = [{"params": a.parameters(), "lr": rates[a.part]} for a in adapters]
    return torch.optim.AdamW(groups, weight_decay=options.weight_decay)


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
