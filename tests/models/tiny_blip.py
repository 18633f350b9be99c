"""A tiny BLIP of random weights in a folder."""

from __future__ import annotations

import json
from pathlib import Path


def blip_in(folder: Path) -> Path:
    """As a full-size BLIP lies in its folder, but tiny, and its words are few."""
    import torch
    from safetensors.torch import save_file
    from transformers import BlipConfig, BlipForConditionalGeneration

    torch.manual_seed(3)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "woman", "hat", ",", "with", "red", "##s", "-", "t"]
    text = {"vocab_size": len(words) + 2, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 24, "encoder_hidden_size": 32, "projection_dim": 16}
    text |= {"bos_token_id": len(words), "eos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16, "projection_dim": 16, "initializer_range": 0.5}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    weights = BlipForConditionalGeneration(config).state_dict()
    save_file({name: value.clone() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_diff_dict()))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder
