"""Writes the three networks as one SD1.5 single file in LDM's layout, with the .yaml that says its sizes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from distill.pocket.make.networks import TEXT_CONFIG, UNET_CONFIG, WIDTH, TextEncoder, Unet
from distill.pocket.make.vae import SCALE_FACTOR, Vae

Weights = dict[str, torch.Tensor]

_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "time_emb_proj.": "emb_layers.1.",
    "conv_shortcut.": "skip_connection.",
}
_UNET_ENDS = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_VAE_ATTENTION = {"group_norm.": "norm.", "to_q.": "q.", "to_k.": "k.", "to_v.": "v.", "to_out.0.": "proj_out."}


def _unet_prefixes(levels: int, layers: int) -> dict[str, str]:
    prefixes = dict(_UNET_ENDS)
    for i in range(levels):
        for j in range(layers):
            block = f"input_blocks.{(layers + 1) * i + j + 1}."
            prefixes[f"down_blocks.{i}.resnets.{j}."] = block + "0."
            prefixes[f"down_blocks.{i}.attentions.{j}."] = block + "1."
        prefixes[f"down_blocks.{i}.downsamplers.0.conv."] = f"input_blocks.{(layers + 1) * (i + 1)}.0.op."
        for j in range(layers + 1):
            block = f"output_blocks.{(layers + 1) * i + j}."
            prefixes[f"up_blocks.{i}.resnets.{j}."] = block + "0."
            prefixes[f"up_blocks.{i}.attentions.{j}."] = block + "1."
        # The lowest level has no attention, so its upsampler comes second in its block, elsewhere third.
        place = 1 if i == 0 else 2
        prefixes[f"up_blocks.{i}.upsamplers.0."] = f"output_blocks.{(layers + 1) * i + layers}.{place}."
    return prefixes


def _translate(name: str, prefixes: Mapping[str, str], inner: Mapping[str, Mapping[str, str]]) -> str:
    """Swap the prefix of `name`, then what follows by the map in `inner` whose key is part of that prefix."""
    for old, new in prefixes.items():
        if not name.startswith(old):
            continue
        tail = name[len(old) :]
        for kind, names in inner.items():
            if kind in old:
                tail = next((to + tail[len(it) :] for it, to in names.items() if tail.startswith(it)), tail)
        return new + tail
    return name


def unet_to_ldm(unet: Unet) -> Weights:
    """The UNet's weights under LDM's names, without `model.diffusion_model.`."""
    prefixes = _unet_prefixes(len(unet.config["block_out_channels"]), unet.config["layers_per_block"])
    return {_translate(name, prefixes, {"resnets": _RESNET}): weight for name, weight in unet.state_dict().items()}


def _vae_prefixes(levels: int, layers: int) -> dict[str, str]:
    prefixes: dict[str, str] = {}
    for i in range(levels):
        up = levels - 1 - i
        for j in range(layers + 1):
            prefixes[f"encoder.down_blocks.{i}.resnets.{j}."] = f"encoder.down.{i}.block.{j}."
            prefixes[f"decoder.up_blocks.{i}.resnets.{j}."] = f"decoder.up.{up}.block.{j}."
        prefixes[f"encoder.down_blocks.{i}.downsamplers.0."] = f"encoder.down.{i}.downsample."
        prefixes[f"decoder.up_blocks.{i}.upsamplers.0."] = f"decoder.up.{up}.upsample."
    for side in ("encoder", "decoder"):
        prefixes[f"{side}.mid_block.resnets.0."] = f"{side}.mid.block_1."
        prefixes[f"{side}.mid_block.resnets.1."] = f"{side}.mid.block_2."
        prefixes[f"{side}.mid_block.attentions.0."] = f"{side}.mid.attn_1."
        prefixes[f"{side}.conv_norm_out."] = f"{side}.norm_out."
    return prefixes


def vae_to_ldm(vae: Vae) -> Weights:
    """The VAE's weights under LDM's names, without `first_stage_model.`; attention as 1x1 convolutions."""
    prefixes = _vae_prefixes(len(vae.config["block_out_channels"]), vae.config["layers_per_block"])
    inner = {"resnets": {"conv_shortcut.": "nin_shortcut."}, "attentions": _VAE_ATTENTION}
    weights: Weights = {}
    for name, weight in vae.state_dict().items():
        is_projection = ".attentions." in name and weight.ndim == 2
        weights[_translate(name, prefixes, inner)] = weight[:, :, None, None] if is_projection else weight
    return weights


def text_to_ldm(text_encoder: TextEncoder) -> Weights:
    """The text encoder's weights as `text_model.*`, whichever transformers made them."""
    weights = {name.removeprefix("text_model."): weight for name, weight in text_encoder.state_dict().items()}
    weights["embeddings.position_ids"] = torch.arange(TEXT_CONFIG["max_position_embeddings"])[None]
    return {f"text_model.{name}": weight for name, weight in weights.items()}


def write_checkpoint(path: Path, unet: Unet, vae: Vae, text_encoder: TextEncoder) -> None:
    """Write `path` (.safetensors, fp16, whole or not at all) and the .yaml beside it."""
    parts = {
        "model.diffusion_model.": unet_to_ldm(unet),
        "first_stage_model.": vae_to_ldm(vae),
        "cond_stage_model.transformer.": text_to_ldm(text_encoder),
    }
    weights = {
        prefix + name: (weight.half() if weight.is_floating_point() else weight).contiguous().cpu()
        for prefix, part in parts.items()
        for name, weight in part.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    save_file(weights, str(beside), metadata={"format": "pt"})
    path.with_suffix(".yaml").write_text(ldm_yaml(vae.config["layers_per_block"]), encoding="utf-8")
    os.replace(beside, path)


def ldm_yaml(vae_layers: int) -> str:
    """A v1-inference.yaml with the pocket's sizes; `cond_stage_config.clip_config` is CLIP's config."""
    channels = UNET_CONFIG["block_out_channels"]
    clip = "\n".join(f"        {key}: {value}" for key, value in TEXT_CONFIG.items())
    return _YAML.format(
        scale_factor=SCALE_FACTOR,
        model_channels=channels[0],
        channel_mult=[width // channels[0] for width in channels],
        num_res_blocks=UNET_CONFIG["layers_per_block"],
        context_dim=WIDTH,
        vae_layers=vae_layers,
        clip=clip,
    )


_YAML = """\
model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    num_timesteps_cond: 1
    log_every_t: 200
    timesteps: 1000
    first_stage_key: "jpg"
    cond_stage_key: "txt"
    image_size: 16
    channels: 4
    cond_stage_trainable: false
    conditioning_key: crossattn
    monitor: val/loss_simple_ema
    scale_factor: {scale_factor}
    use_ema: False

    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 16
        in_channels: 4
        out_channels: 4
        model_channels: {model_channels}
        attention_resolutions: [4, 2, 1]
        num_res_blocks: {num_res_blocks}
        channel_mult: {channel_mult}
        num_heads: 8
        use_spatial_transformer: True
        transformer_depth: 1
        context_dim: {context_dim}
        use_checkpoint: False
        legacy: False

    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: 4
          resolution: 128
          in_channels: 3
          out_ch: 3
          ch: 64
          ch_mult: [1, 1, 1, 1]
          num_res_blocks: {vae_layers}
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity

    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
      params:
        # LDM's loader takes CLIP's sizes from a folder; this path holds when the extension is installed in a WebUI.
        version: extensions/sd-webui-distill/distill/pocket/tokenizer
      clip_config:
{clip}
"""
