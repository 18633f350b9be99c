"""Optimizers and schedules, by the field's libraries where they have them."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import torch

from distill.errors import OptionError, TrainingError
from distill.options import TrainOptions
from distill.training.adapter import Adapter

Groups = list[dict[str, Any]]


def make(adapters: Sequence[Adapter], options: TrainOptions) -> torch.optim.Optimizer:
    """The optimizer over all layers, each at its part's rate times its block's weight.

    Raises OptionError for arguments that it does not know, TrainingError where it can't be had.
    """
    rates = {"unet": options.unet_lr, "text_encoder": options.text_encoder_lr}
    up_ratio = 1.0 if options.optimizer == "prodigy" else options.loraplus_lr_ratio
    groups: Groups = [
        {"params": tensors, "lr": rates[adapter.part] * rate, "part": adapter.part}
        for adapter in adapters
        for rate, tensors in adapter.rates(up_ratio).items()
    ]
    if options.optimizer == "prodigy" and len({group["lr"] for group in groups}) > 1:
        raise OptionError(
            "Prodigy finds one rate for all.", "Set the same rate for UNet and text encoder, and no block weights."
        )
    arguments = {"weight_decay": options.weight_decay, **read_arguments(options.optimizer_args)}
    try:
        return _MAKERS[options.optimizer](groups, arguments)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"The optimizer {options.optimizer} does not take {options.optimizer_args!r}: {error}",
            "Nothing was started.",
        ) from None


def schedule(optimizer: torch.optim.Optimizer, options: TrainOptions, steps: int) -> Any:
    """How the rate goes on over `steps` steps: the schedules of transformers and diffusers, which kohya takes too."""
    from diffusers.optimization import get_scheduler

    warmup = int(options.lr_warmup * steps)
    name = "constant_with_warmup" if options.lr_scheduler == "constant" and warmup else options.lr_scheduler
    return get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        num_cycles=options.lr_cycles,
        power=options.lr_power,
    )


def read_arguments(text: str) -> dict[str, Any]:
    """`betas=(0.9,0.99) d_coef=2` as keywords. Raises OptionError."""
    try:
        pairs = [pair.partition("=") for pair in shlex.split(text)]
        return {name: ast.literal_eval(value) for name, _, value in pairs}
    except (ValueError, SyntaxError):
        raise OptionError(
            f"Optimizer arguments are {text!r}.", "Write name=value pairs, as weight_decay=0.1."
        ) from None


class Lion(torch.optim.Optimizer):
    """The sign of a blend of gradient and its running mean is the step (Chen et al. 2023, algorithm 2)."""

    def __init__(
        self, groups: Groups, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                update = mean.lerp(p.grad, 1 - beta1).sign_()
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                mean.lerp_(p.grad, 1 - beta2)


def _adamw(groups: Groups, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    if not {"fused", "foreach"} & set(arguments):
        arguments = {**arguments, **_all_at_once(groups[0]["params"][0].device.type)}
    return torch.optim.AdamW(groups, **arguments)


def _all_at_once(device: str) -> dict[str, Any]:
    """torch's quickest way on a device: a LoRA has hundreds of tensors, each of which would cost a dozen calls."""
    from torch.utils import _foreach_utils

    fused: list[str] = getattr(_foreach_utils, "_get_fused_kernels_supported_devices", lambda: [])()
    return {"fused": True} if device in fused else {"foreach": True} if device in ("cpu", "cuda") else {}


def _adamw8bit(groups: Groups, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    try:
        import bitsandbytes
    except Exception as error:  # noqa: BLE001 - it looks for CUDA while it is imported, and fails in many ways
        raise TrainingError(
            f"AdamW8bit needs bitsandbytes, which can't be used here ({type(error).__name__}).", "Choose adamw."
        ) from None
    if not groups[0]["params"][0].is_cuda:
        raise TrainingError("AdamW8bit runs on CUDA only.", "Choose adamw.")
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(groups, **arguments)
    return optimizer


def _prodigy(groups: Groups, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    try:
        from prodigyopt import Prodigy
    except ImportError:
        raise TrainingError(
            "Prodigy needs the package prodigyopt, which is not installed.", "pip install prodigyopt, or choose adamw."
        ) from None
    optimizer: torch.optim.Optimizer = Prodigy(groups, **arguments)
    return optimizer


def _adafactor(groups: Groups, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    given = {"scale_parameter": False, "relative_step": False, "warmup_init": False}  # the rate is the schedule's
    make: Any = Adafactor  # untyped
    optimizer: torch.optim.Optimizer = make(groups, **{**given, **arguments})
    return optimizer


_MAKERS: dict[str, Callable[[Groups, dict[str, Any]], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "lion": lambda groups, arguments: Lion(groups, **arguments),
    "prodigy": _prodigy,
    "adafactor": _adafactor,
}
