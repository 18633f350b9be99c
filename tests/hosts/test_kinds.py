"""Every other kind of file is refused by its name, from the header alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill.errors import CheckpointError
from distill.hosts.kinds import FIRST_CONV, TEXT, UNET, VAE
from distill.hosts.standalone import Standalone

CONTEXT = UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SD15 = {FIRST_CONV: (320, 4, 3, 3), CONTEXT: (320, 768), TEXT + "x": (1,), VAE + "x": (1,)}

FILES = {
    "SD2": {**SD15, CONTEXT: (320, 1024)},
    "an SD2 checkpoint": {**SD15, "cond_stage_model.model.ln_final.weight": (1024,)},
    "SDXL": {**SD15, "conditioner.embedders.0.transformer.text_model.x": (1,)},
    "an SDXL checkpoint": {FIRST_CONV: (320, 4, 3, 3), UNET + "label_emb.0.0.weight": (1280, 2816)},
    "SD3": {"model.diffusion_model.joint_blocks.0.x_block.mlp.fc1.weight": (4, 4)},
    "Flux": {"double_blocks.0.img_attn.qkv.weight": (4, 4)},
    "inpainting": {**SD15, FIRST_CONV: (320, 9, 3, 3)},
    "instruct-pix2pix": {**SD15, FIRST_CONV: (320, 8, 3, 3)},
    "7 channels": {**SD15, FIRST_CONV: (320, 7, 3, 3)},
    "a LoRA": {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 4)},
    "LoHa": {"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": (4, 4)},
    "ControlNet": {"control_model.input_hint_block.0.weight": (4, 4)},
    "a VAE alone": {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)},
    "textual inversion": {"emb_params": (8, 768)},
    "diffusers' layout": {"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)},
    "text encoder alone": {"text_model.encoder.layers.0.layer_norm1.weight": (768,)},
    "unknown kind": {"some.layer.weight": (3, 3, 3, 3)},
    "text encoder is missing": {k: v for k, v in SD15.items() if not k.startswith(TEXT)},
    "no VAE": {k: v for k, v in SD15.items() if not k.startswith(VAE)},
}


def refused(path: Path, what: str, **how) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        Standalone(path, lora_dir=path.parent, **how).check()
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", FILES)
def test_other_models(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(1).expand(shape).contiguous() for name, shape in FILES[what].items()}, str(path))
    refused(path, what)


def test_an_sd15_header_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in SD15.items()}, str(path))
    Standalone(path, lora_dir=tmp_path).check()


def test_pickles(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}}, path)
    refused(path, "pickle, which can run code")
    refused(path.rename(tmp_path / "renamed.safetensors"), "pickle, which can run code")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE html><html><body>Sign in", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
        (b"just some text that is long enough", "damaged"),
        (bytes(4), "damaged"),
        ((20).to_bytes(8, "little") + b"{'not json': 0}     " + bytes(50), "header can't be read"),
        ((16).to_bytes(8, "little") + b'{"a": {"b": 0}} ' + bytes(50), "makes no sense"),
        ((16).to_bytes(8, "little") + b'["a", "b", "c"] ' + bytes(50), "makes no sense"),
    ],
)
def test_damage(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path, what)


def test_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in SD15.items()}, str(path))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut off")


def test_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in SD15.items()}, str(path))
    with pytest.raises(CheckpointError, match="incomplete"), Standalone(path, lora_dir=tmp_path, device="cpu").borrow():
        pass


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.safetensors", "There is no file")


def test_folders(tmp_path: Path) -> None:
    refused(tmp_path, "without model_index.json")
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"in_channels": 4, "cross_attention_dim": 2048}))
    refused(tmp_path, "SDXL")
    (tmp_path / "unet" / "config.json").write_text("{")
    refused(tmp_path, "can't be read")


def test_a_vae_file_that_is_none(tmp_path: Path) -> None:
    path, vae = tmp_path / "model.safetensors", tmp_path / "vae.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in SD15.items()}, str(path))
    save_file({"emb_params": torch.zeros(8, 768)}, str(vae))
    refused(path, "vae.safetensors has no VAE inside", vae=vae)


def test_a_yaml_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.with_suffix(".yaml").write_text("model: [")
    with pytest.raises(CheckpointError, match=r"model.yaml .* can't be read"):
        Standalone(path, lora_dir=tmp_path).facts()
