"""Writes diffusers models as a single LDM-layout `.safetensors`, the layout that WebUIs load.

The names follow CompVis' `ldm` modules and not diffusers' converter, so that loading such a file checks it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_PIECES = (
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d)\.resnets\.", r"up.\1.block."),
    (r"up_blocks\.(\d)\.upsamplers\.0\.", r"up.\1.upsample."),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    ("group_norm", "norm"),
    (r"\.to_out\.0\.", ".proj_out."),
    (r"\.to_([qkv])\.", r".\1."),
)


def unet_tensors(unet: Any) -> dict[str, torch.Tensor]:
    """The UNet under LDM names, no prefix."""
    per_level = unet.config.layers_per_block
    return {_unet_name(name, per_level, unet): tensor for name, tensor in unet.state_dict().items()}


def vae_tensors(vae: Any) -> dict[str, torch.Tensor]:
    """The VAE under LDM names, no prefix; attention as 1x1 convolutions, as LDM has it."""
    out = {}
    for name, tensor in vae.state_dict().items():
        for pattern, new in VAE_PIECES:
            name = re.sub(pattern, new, name)
        name = re.sub(r"^decoder\.up\.(\d)", lambda m: f"decoder.up.{3 - int(m[1])}", name)
        out[name] = tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
    return out


def text_tensors(text_encoder: Any, *, text_prefix: bool = True) -> dict[str, torch.Tensor]:
    """The text encoder, with `text_model.` in the names as real files have it, or without."""
    bare = {name.replace("text_model.", ""): tensor for name, tensor in text_encoder.state_dict().items()}
    bare["embeddings.position_ids"] = torch.arange(77)[None]
    return {("text_model." if text_prefix else "") + name: tensor for name, tensor in bare.items()}


def write_checkpoint(
    path: Path,
    unet: Any,
    vae: Any | None,
    text_encoder: Any | None,
    *,
    dtype: torch.dtype = torch.float32,
    ema: bool = False,
    text_prefix: bool = True,
) -> Path:
    """A single file as WebUIs load it; with `ema` another set of UNet weights lies beside, which must not be used."""
    tensors = {UNET + name: t for name, t in unet_tensors(unet).items()}
    if ema:
        tensors |= {
            "model_ema." + name.replace(".", ""): torch.full_like(t, 9.0) for name, t in unet_tensors(unet).items()
        }
    if vae is not None:
        tensors |= {VAE + name: t for name, t in vae_tensors(vae).items()}
    if text_encoder is not None:
        tensors |= {TEXT + name: t for name, t in text_tensors(text_encoder, text_prefix=text_prefix).items()}
    tensors["betas"] = torch.zeros(1000)  # LDM files carry the schedule too
    save_file({name: _cast(t, dtype) for name, t in tensors.items()}, str(path))
    return path


def write_vae(path: Path, vae: Any, *, prefix: str = "") -> Path:
    """A VAE file of its own, as WebUIs take it."""
    save_file({prefix + name: t.contiguous() for name, t in vae_tensors(vae).items()}, str(path))
    return path


def write_folder(folder: Path, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, **scheduler: Any) -> Path:
    """A diffusers folder, saved by diffusers itself."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**{**schedule, **scheduler}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    return folder


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().clone()


def _unet_name(name: str, per_level: int, unet: Any) -> str:
    for old, new in UNET_ENDS.items():
        if name.startswith(old + "."):
            return new + name[len(old) :]
    if m := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        place = 1 if m[1] == "attentions" else 2 * int(m[2])
        return f"middle_block.{place}.{_inner(m[1], m[3])}"
    m = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert m is not None, name
    level, part, i, rest = int(m[2]), m[3], int(m[4]), m[5]
    if m[1] == "down":
        first = (per_level + 1) * level + 1
        if part == "downsamplers":
            return f"input_blocks.{first + per_level}.0.{rest.replace('conv', 'op')}"
        return f"input_blocks.{first + i}.{int(part == 'attentions')}.{_inner(part, rest)}"
    first = (per_level + 1) * level
    if part == "upsamplers":
        after = 2 if "CrossAttn" in unet.config.up_block_types[level] else 1
        return f"output_blocks.{first + per_level}.{after}.{rest}"
    return f"output_blocks.{first + i}.{int(part == 'attentions')}.{_inner(part, rest)}"


def _inner(part: str, rest: str) -> str:
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}" if part == "resnets" else rest
