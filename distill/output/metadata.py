"""A LoRA file's metadata: `ss_*` as kohya's train_network.py writes it, `modelspec.*` as Stability's ModelSpec 1.0.0.

Every value is text. A1111 takes any `ss_*` as the mark of SD1, Forge wants `modelspec.architecture`: both are there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import distill
from distill.blocks import weights_of
from distill.host import Models
from distill.options import Options
from distill.output.trained_on import Counts, Shown, comment, data

__all__ = ["Counts", "Shown", "metadata", "session_id"]

PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}


def metadata(
    models: Models,
    options: Options,
    *,
    name: str,
    tags: Sequence[str],
    size_px: tuple[int, int],
    epoch: int,
    step: int,
    started_at: datetime,
    finished_at: datetime,
    counts: Counts | None = None,
    shown: Sequence[Shown] = (),
) -> dict[str, str]:
    """All of it; `name` is the file's stem, which A1111 makes the LoRA's alias, `size_px` is (width, height).

    Without `counts` and `shown` it was one picture.
    """
    shown = shown or (Shown(repeats=1, size_px=size_px, tags=tags),)
    counts = counts or Counts(epoch_steps=options.train.steps_of(options.train.repeats))
    values = {
        **_run(options, name, epoch, step, started_at, finished_at),
        "ss_training_comment": comment(shown),
        **_steps(options, counts),
        **_network(options),
        **data(options, name, shown, counts),
        "ss_resolution": str(tuple(size_px)),
        **_model(models, options),
        **_modelspec(models, name, tags, size_px, finished_at),
        "distill_version": distill.__version__,
        "distill_options": json.dumps(options.public(), sort_keys=True),
    }
    return {key: str(value) for key, value in values.items()}


def session_id(started_at: datetime) -> int:
    """The same for all epochs of one training."""
    return int(started_at.timestamp() * 1000) % 2**32


def _run(
    options: Options, name: str, epoch: int, step: int, started_at: datetime, finished_at: datetime
) -> dict[str, Any]:
    train = options.train
    return {
        "ss_output_name": name,
        "ss_session_id": session_id(started_at),
        "ss_training_started_at": started_at.timestamp(),
        "ss_training_finished_at": finished_at.timestamp(),
        "ss_epoch": epoch,
        "ss_steps": step,
        "ss_num_epochs": train.epochs,
        "ss_seed": train.seed,
        "ss_learning_rate": train.unet_lr,
        "ss_unet_lr": train.unet_lr,
        "ss_text_encoder_lr": train.text_encoder_lr if train.train_text_encoder else 0.0,
        "ss_lr_scheduler": train.lr_scheduler,
        "ss_optimizer": f"{train.optimizer}(weight_decay={train.weight_decay},{train.optimizer_args})",
        "ss_max_grad_norm": train.max_grad_norm,
        "ss_gradient_checkpointing": train.gradient_checkpointing,
        "ss_gradient_accumulation_steps": train.gradient_accumulation,
        "ss_loss_type": "l2",
        **_noise(options),
    }


def _steps(options: Options, counts: Counts) -> dict[str, Any]:
    train = options.train
    total = counts.epoch_steps * train.epochs
    return {
        "ss_max_train_steps": total,
        "ss_num_batches_per_epoch": counts.epoch_steps,
        "ss_lr_warmup_steps": int(train.lr_warmup * total),
    }


def _noise(options: Options) -> dict[str, Any]:
    noise = options.noise
    return {
        "ss_noise_offset": noise.noise_offset or None,
        "ss_noise_offset_random_strength": noise.noise_offset_random,
        "ss_adaptive_noise_scale": noise.adaptive_noise_scale or None,
        "ss_multires_noise_iterations": noise.multires_noise_iterations or None,
        "ss_multires_noise_discount": noise.multires_noise_discount,
        "ss_ip_noise_gamma": noise.ip_noise_gamma or None,
        "ss_ip_noise_gamma_random_strength": noise.ip_noise_random,
        "ss_min_snr_gamma": noise.min_snr_gamma or None,
        "ss_debiased_estimation": noise.debiased_estimation,
    }


def _network(options: Options) -> dict[str, Any]:
    network = options.network
    arguments: dict[str, str] = {}
    if network.network_type != "lora" and network.conv_dim:
        arguments |= {"conv_dim": str(network.conv_dim), "conv_alpha": str(network.conv_alpha)}
    if network.block_weights:
        weights = [f"{w:g}" for w in weights_of(network.block_weights)]
        for name, part in (("down", weights[:12]), ("mid", weights[12:13]), ("up", weights[13:])):
            arguments[f"{name}_lr_weight"] = ",".join(part)
    if network.network_type in ("loha", "lokr"):
        arguments["algo"] = network.network_type
    for name in ("rank_dropout", "module_dropout"):
        if getattr(network, name):
            arguments[name] = str(getattr(network, name))
    return {
        "ss_network_module": "lycoris.kohya" if "algo" in arguments else "networks.lora",
        "ss_network_dim": network.network_dim,
        "ss_network_alpha": network.network_alpha,
        "ss_network_dropout": network.network_dropout or None,
        "ss_network_args": json.dumps(arguments),
        "ss_scale_weight_norms": network.scale_weight_norms or None,
    }


def _model(models: Models, options: Options) -> dict[str, Any]:
    known = {"ss_new_sd_model_hash": models.sha256} if models.sha256 else {}
    return {
        "ss_sd_model_name": models.name,
        "ss_base_model_version": "sd_v1_v" if models.prediction_type == "v_prediction" else "sd_v1",
        "ss_v2": False,
        "ss_clip_skip": options.caption.clip_skip,
        "ss_mixed_precision": "no",
        "ss_full_fp16": False,
        **known,
    }


def _modelspec(
    models: Models, name: str, tags: Sequence[str], size_px: tuple[int, int], finished_at: datetime
) -> dict[str, Any]:
    spec = {
        "sai_model_spec": "1.0.0",
        "architecture": "stable-diffusion-v1/lora",
        "implementation": "diffusers",
        "title": name,
        "date": finished_at.replace(microsecond=0).isoformat(),
        "resolution": f"{size_px[0]}x{size_px[1]}",
        "prediction_type": PREDICTIONS[models.prediction_type],
        "trigger_phrase": tags[0] if tags else "",
    }
    return {f"modelspec.{key}": value for key, value in spec.items()}
