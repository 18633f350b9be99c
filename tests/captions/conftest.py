"""The real CLIP vocabulary, and a tiny BLIP of random weights in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TOKENIZER = Path(__file__).parents[2] / "distill" / "pocket" / "tokenizer"


@pytest.fixture(scope="session")
def clip_vocabulary() -> dict[str, int]:
    return json.loads((TOKENIZER / "vocab.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(TOKENIZER))


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    folder = tmp_path_factory.mktemp("blip")
    weights = BlipForConditionalGeneration(config).state_dict()
    save_file({name: value.clone() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_diff_dict()))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder
