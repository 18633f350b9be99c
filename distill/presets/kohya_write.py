"""A recipe -> kohya_ss' JSON, to be opened on its LoRA page. What kohya has no setting for is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill import recipe
from distill.presets import kohya_keys as keys
from distill.presets.kohya_values import plain, three_lists

_ALSO = {
    *("network_type", "unet_lr", "train_text_encoder", "text_encoder_lr", "epochs", "lr_scheduler", "lr_warmup"),
    *("optimizer", "optimizer_args", "weight_decay", "crop", "resolution", "mask", "block_weights", "save_precision"),
    *("keep_epochs", "repeats_of"),
}
HELD: frozenset[str] = frozenset(keys.DIRECT.values()) | _ALSO
"""The options that kohya_ss has a setting for."""


def write(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A whole recipe as kohya_ss' settings, and a note on each option that they can't hold."""
    found = {key: values[name] for key, name in keys.DIRECT.items()}
    dropped = found.pop("caption_tag_dropout_rate")  # its page has no field for it
    found |= {
        "LoRA_type": next(kind for kind, name in keys.TYPES.items() if name == values["network_type"]),
        "additional_parameters": f"--caption_tag_dropout_rate {dropped:g}" if dropped else "",
        "epoch": values["epochs"],
        "max_train_epochs": "",
        "max_train_steps": "",
        "lr_warmup": plain(100 * values["lr_warmup"]),
        "lr_warmup_steps": 0,
        "max_resolution": "{0},{0}".format(values["resolution"] or 512),
        "enable_bucket": values["crop"] == "aspect",
        "masked_loss": values["mask"] != "none",
        "save_precision": "float" if values["save_precision"] == "fp32" else "fp16",
        "save_every_n_epochs": int(values["keep_epochs"]),
        "noise_offset_type": "Multires" if values["multires_noise_iterations"] else "Original",
        **_rates(values),
        **_optimizer(values),
        **_blocks(values["block_weights"]),
        "sdxl": False,
        "v2": False,
    }
    return dict(sorted(found.items(), key=lambda item: item[0].lower())), tuple(_lost(values))


def _rates(values: Mapping[str, Any]) -> dict[str, Any]:
    scheduler = values["lr_scheduler"]
    if scheduler == "constant" and values["lr_warmup"]:
        scheduler = "constant_with_warmup"  # sd-scripts refuses a warm-up for the other
    return {
        "learning_rate": values["unet_lr"],
        "unet_lr": values["unet_lr"],
        "text_encoder_lr": values["text_encoder_lr"] if values["train_text_encoder"] else 0,
        "lr_scheduler": scheduler,
    }


def _optimizer(values: Mapping[str, Any]) -> dict[str, Any]:
    name, decay = values["optimizer"], values["weight_decay"]
    given = [f"weight_decay={decay:g}"] if decay != keys.WEIGHT_DECAY[name] else []
    return {
        "optimizer": keys.OPTIMIZER_NAMES[name],
        "optimizer_args": " ".join([*given, *filter(None, [values["optimizer_args"]])]),
    }


def _blocks(text: str) -> dict[str, str]:
    lists = three_lists(text) if text else ("", "", "")
    return dict(zip(("down_lr_weight", "mid_lr_weight", "up_lr_weight"), lists)) | {"block_lr_zero_threshold": ""}


def _lost(values: Mapping[str, Any]) -> list[str]:
    different = recipe.differing(values)
    notes = [f'Put the picture into a folder whose name begins with "{values["repeats"]}_": those are its repeats.']
    gone = [recipe.LABELS[name] for name in different if name not in HELD | {"repeats", "spread_timesteps"}]
    if gone:
        notes.append(f"kohya has no setting for: {', '.join(gone)}.")
    if values["spread_timesteps"] and values["batch_size"] > 1:
        notes.append("kohya draws each timestep of a batch by itself.")
    if values["reg_pictures"] != "none":
        notes.append("Class pictures are a folder of yours in kohya.")
    if values["multires_noise_iterations"] and values["noise_offset"]:
        notes.append("kohya takes noise offset or multires noise: it is multires noise there.")
    if values["block_weights"] and values["network_type"] in ("loha", "lokr"):
        notes.append("kohya has block weights for LoRA only.")
    return notes
