"""`distill info` says what a file is, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill.errors import CheckpointError
from distill.hosts.describe import describe
from distill.hosts.kinds import FIRST_CONV, TEXT, UNET, VAE

CONTEXT = UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def test_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shapes = {FIRST_CONV: (320, 4, 3, 3), CONTEXT: (320, 768), TEXT + "x": (1,), VAE + "x": (1,)}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, str(path))
    about = describe(path)
    assert about["kind"] == "an SD1.5 checkpoint"
    assert about["prediction"] == "epsilon"
    assert about["native size"] == "512 px"
    assert about["tensors"] == "4 with 0.3 million numbers (F16)"


def test_a_lora_shows_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    metadata = {"ss_output_name": "lora", "ss_tag_frequency": '{"a": {"b": 1}}', "ss_long": "x" * 500}
    save_file({"lora_unet_conv_in.lora_up.weight": torch.zeros(4, 4)}, str(path), metadata)
    about = describe(path)
    assert about["kind"] == "a LoRA"
    assert about["ss_output_name"] == "lora"
    assert about["ss_tag_frequency"] == '{"a": {"b": 1}}'
    assert len(about["ss_long"]) == 200


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without model_index"):
        describe(tmp_path)
