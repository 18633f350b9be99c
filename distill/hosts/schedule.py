"""How a checkpoint predicts and at what size: from the `.yaml` beside it or a diffusers folder's configs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CheckpointError

if TYPE_CHECKING:
    import torch


AGAIN = "Download the folder again."


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the tensors don't tell; the defaults are SD1.5's."""

    prediction_type: str = "epsilon"
    native_px: int = 512
    latent_scale: float = 0.18215
    beta_start: float = 0.00085
    beta_end: float = 0.012
    timesteps: int = 1000
    unet_heads: int = 8
    clip_heads: int | None = None  # None: one per 64 of width

    def alphas_cumprod(self) -> torch.Tensor:
        """The noise schedule, (timesteps,) float32; LDM's "linear", which is linear in the square root."""
        import torch

        roots = torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.timesteps, dtype=torch.float64)
        return torch.cumprod(1.0 - roots**2, dim=0).float()


def facts_from_yaml(path: Path) -> Facts:
    """Facts from an LDM `.yaml`; SD1.5's where there is none. Raises CheckpointError when it can't be read."""
    if not path.is_file():
        return Facts()
    import yaml

    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["params"]
        unet = params.get("unet_config", {}).get("params", {})
        text = params.get("cond_stage_config", {}).get("clip_config") or {}
        return Facts(
            prediction_type="v_prediction" if params.get("parameterization", "eps") == "v" else "epsilon",
            native_px=8 * int(params.get("image_size", 64)),
            latent_scale=float(params.get("scale_factor", 0.18215)),
            beta_start=float(params.get("linear_start", 0.00085)),
            beta_end=float(params.get("linear_end", 0.012)),
            timesteps=int(params.get("timesteps", 1000)),
            unet_heads=int(unet.get("num_heads", 8)),
            clip_heads=text.get("num_attention_heads"),
        )
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path.name} beside the checkpoint can't be read.", "Repair or remove it.") from error


def facts_from_folder(folder: Path) -> Facts:
    """Facts from the configs of a diffusers folder; raises CheckpointError when one can't be read."""
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    unet, vae = read_json(folder / "unet" / "config.json"), read_json(folder / "vae" / "config.json")
    kind, betas = scheduler.get("prediction_type", "epsilon"), scheduler.get("beta_schedule", "scaled_linear")
    if kind not in ("epsilon", "v_prediction") or betas != "scaled_linear":
        raise CheckpointError(f"{folder.name} predicts {kind} on a {betas} schedule.", "Give an SD1.5 folder.")
    return Facts(
        prediction_type=kind,
        native_px=8 * int(unet.get("sample_size") or 64),
        latent_scale=float(vae.get("scaling_factor", 0.18215)),
        beta_start=float(scheduler.get("beta_start", 0.00085)),
        beta_end=float(scheduler.get("beta_end", 0.012)),
        timesteps=int(scheduler.get("num_train_timesteps", 1000)),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A config file of a diffusers folder; raises CheckpointError when it is missing or damaged."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent.name}/{path.name} is missing in the diffusers folder.", AGAIN) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read.", AGAIN) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a config.", AGAIN)
    return config
