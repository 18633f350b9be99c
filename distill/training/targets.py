"""Which layers of a UNet or text encoder are trained, at which size and rate: as kohya's `networks.lora`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from distill.blocks import block_of, weights_of
from distill.options import NetworkOptions

# By their paths in diffusers' UNet and transformers' CLIPTextModel.
_ATTENTION = re.compile(
    r".*\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)|.*\.ff\.net\.(0\.proj|2)|.*attentions\.\d+\.(proj_in|proj_out)"
)
_CONVOLUTION = re.compile(
    r".*resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)|.*(downsamplers|upsamplers)\.\d+\.conv"
)
_TEXT = re.compile(r".*\.self_attn\.(q_proj|k_proj|v_proj|out_proj)|.*\.mlp\.(fc1|fc2)")


@dataclass(frozen=True)
class Target:
    """How one layer is trained."""

    rank: int
    alpha: float
    rate: float = 1.0  # how much of the learning rate it gets


def targets_of(module: nn.Module, part: str, options: NetworkOptions) -> dict[str, Target]:
    """The layers to train by their paths; `part` is "unet" or "text_encoder". Raises OptionError."""
    layers = {path: m for path, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    if part == "text_encoder":
        plain = _sized(options, False)
        return {path: plain for path in layers if _TEXT.fullmatch(path)}
    weights, found = weights_of(options.block_weights), {}
    with_convolutions = options.network_type != "lora"
    for path, layer in layers.items():
        if not (_ATTENTION.fullmatch(path) or (with_convolutions and _CONVOLUTION.fullmatch(path))):
            continue
        is_3x3 = isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)
        block = block_of(path)
        rate = 1.0 if block is None else weights[block]
        if rate and (options.conv_dim or not is_3x3):
            found[path] = _sized(options, is_3x3, rate)
    return found


def _sized(options: NetworkOptions, is_3x3: bool, rate: float = 1.0) -> Target:
    rank, alpha = options.network_dim, options.network_alpha
    if is_3x3:
        rank, alpha = options.conv_dim, options.conv_alpha
    if options.network_type == "lokr":
        alpha = float(rank)  # its scale is 1: peft had none for it before 0.14
    return Target(rank, alpha, rate)
