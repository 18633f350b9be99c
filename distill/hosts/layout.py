"""The sizes of an SD1.5-shaped model, read off the shapes of its tensors (LDM names, prefixes removed).

Everything the shapes can't tell (heads, activation, norm groups) is SD1.5's own.
"""

from __future__ import annotations

import re
from typing import Any

Shapes = dict[str, tuple[int, ...]]

HEADS = 8  # of the UNet's attention; shapes don't tell, SD1.5 has 8 everywhere
CLIP_HEAD_WIDTH = 64  # CLIP ViT-L/14's: 768 / 12


def unet_config(shapes: Shapes, *, heads: int = HEADS) -> dict[str, Any]:
    """UNet2DConditionModel's config; raises KeyError when a tensor that must be there is missing."""
    levels = _unet_levels(shapes)
    depths = {int(m[1]) for name in shapes if (m := re.search(r"transformer_blocks\.(\d+)\.", name))}
    width = next(shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    proj_in = next(shape for name, shape in shapes.items() if name.endswith("1.proj_in.weight"))
    has_attention = [attention for _, _, attention in levels]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": tuple(channels for channels, _, _ in levels),
        "layers_per_block": levels[0][1],
        "transformer_layers_per_block": max(depths) + 1,
        "cross_attention_dim": width,
        "attention_head_dim": heads,  # diffusers' name for the number of heads in SD1.5
        "use_linear_projection": len(proj_in) == 2,
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in has_attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(has_attention)),
    }


def _unet_levels(shapes: Shapes) -> list[tuple[int, int, bool]]:
    """(channels, res blocks, has attention) of each resolution, finest first."""
    levels: list[tuple[int, int, bool]] = []
    channels, blocks, attention, i = 0, 0, False, 1
    while any(name.startswith(f"input_blocks.{i}.") for name in shapes):
        if f"input_blocks.{i}.0.op.weight" in shapes:  # a downsampler ends the level
            levels.append((channels, blocks, attention))
            blocks, attention = 0, False
        else:
            channels = shapes[f"input_blocks.{i}.0.in_layers.2.weight"][0]
            blocks += 1
            attention |= f"input_blocks.{i}.1.proj_in.weight" in shapes
        i += 1
    return [*levels, (channels, blocks, attention)]


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """AutoencoderKL's config; raises KeyError when a tensor that must be there is missing."""
    # The decoder is asked, not the encoder: with num_res_blocks 0 the encoder's last level has no tensors.
    levels = 1 + max(int(m[1]) for name in shapes if (m := re.match(r"decoder\.up\.(\d+)\.", name)))
    blocks = {int(m[1]) for name in shapes if (m := re.match(r"decoder\.up\.0\.block\.(\d+)\.", name))}
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "block_out_channels": tuple(shapes[f"decoder.up.{i}.block.0.conv1.weight"][0] for i in range(levels)),
        "layers_per_block": len(blocks) - 1,  # LDM's decoder has one block more than num_res_blocks
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }


def clip_config(shapes: Shapes, *, heads: int | None = None) -> dict[str, Any]:
    """CLIPTextConfig's arguments from names without `text_model.`; raises KeyError when a tensor is missing."""
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    layers = {int(m[1]) for name in shapes if (m := re.match(r"encoder\.layers\.(\d+)\.", name))}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads or max(1, width // CLIP_HEAD_WIDTH),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "projection_dim": width,
        "hidden_act": "quick_gelu",
    }
