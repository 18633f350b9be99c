"""LoRA files: kohya's names, whole, read back, and never twice under one name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from distill.errors import OutputError
from distill.host import Models
from distill.output.lora_file import Lora, kohya_name, read, save, unused_name, verify
from tests.models.adapters import random_lora


@pytest.mark.parametrize(
    ("part", "path", "name"),
    [
        (
            "unet",
            "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        ),
        (
            "unet",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
        ),
        (
            "text_encoder",
            "text_model.encoder.layers.0.self_attn.q_proj",
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        ),
        ("text_encoder", "encoder.layers.11.mlp.fc1", "lora_te_text_model_encoder_layers_11_mlp_fc1"),
    ],
)
def test_kohya_names(part: str, path: str, name: str) -> None:
    assert kohya_name(part, path) == name


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "F16"), ("fp32", "F32")])
def test_what_is_saved_is_read(models: Models, tmp_path: Path, precision: str, dtype: str) -> None:
    path, lora = tmp_path / "a.safetensors", random_lora(models, author="Zoë 日本")
    save(lora, path, precision=precision)
    verify(path, lora)
    got = read(path)
    assert got.layers.keys() == lora.layers.keys()
    for name, layer in lora.layers.items():
        assert torch.equal(got.layers[name].down.float(), layer.down)
        assert torch.equal(got.layers[name].up.float(), layer.up)
        assert got.layers[name].alpha == 2.0
    assert got.metadata["author"] == "Zoë 日本"
    with safe_open(str(path), framework="pt") as file:  # the library's own reader, an independent check
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} <= {dtype}  # noqa: SIM118
        assert len(list(file.keys())) == 3 * len(lora.layers)


def test_the_same_lora_gives_the_same_bytes(models: Models, tmp_path: Path) -> None:
    lora = random_lora(models, b="2", a="1")
    save(lora, tmp_path / "a.safetensors")
    save(replace(lora, metadata=dict(reversed(lora.metadata.items()))), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_never_over_another_file(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(random_lora(models), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save(random_lora(models, seed=1), path)
    assert path.read_bytes() == before


def changed(lora: Lora, **fields: object) -> Lora:
    name = next(iter(lora.layers))
    return Lora({**lora.layers, name: replace(lora.layers[name], **fields)}, lora.metadata)


def test_numbers_that_are_not_finite_are_not_saved(models: Models, tmp_path: Path) -> None:
    lora = random_lora(models)
    up = next(iter(lora.layers.values())).up
    for value in (float("nan"), 1e6):  # the latter overflows in half precision only
        with pytest.raises(OutputError, match="not finite in fp16"):
            save(changed(lora, up=up + value), tmp_path / "a.safetensors")
    assert not any(tmp_path.iterdir())


def test_verify_compares_with_what_was_meant(models: Models, tmp_path: Path) -> None:
    lora = random_lora(models)
    path, first = tmp_path / "a.safetensors", next(iter(lora.layers.values()))
    save(lora, path)
    with pytest.raises(OutputError, match="other numbers"):
        verify(path, changed(lora, up=first.up + 1))
    with pytest.raises(OutputError, match="wrong shape"):
        verify(path, changed(lora, down=first.down[:2], up=first.up[:, :2]))
    with pytest.raises(OutputError, match="not written whole"):
        verify(path, Lora(dict(list(lora.layers.items())[1:]), {}))


def test_verify_refuses_a_lora_that_changes_nothing(models: Models, tmp_path: Path) -> None:
    zeros = {name: replace(layer, up=torch.zeros_like(layer.up)) for name, layer in random_lora(models).layers.items()}
    save(Lora(zeros, {}), tmp_path / "a.safetensors")
    with pytest.raises(OutputError, match="all zeros"):
        verify(tmp_path / "a.safetensors", Lora(zeros, {}))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["model.diffusion_model.out.2.weight"], "not a LoRA"),
        (["unet.mid_block.to_q.lora_A.weight"], "diffusers' names"),
        (["lora_unet_x.hada_w1_a", "lora_unet_x.hada_t1"], "a Tucker LoHa"),
        (["lora_unet_x.lokr_w1"], "damaged at lora_unet_x"),
        (["lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight", "lora_unet_x.dora_scale"], "a DoRA"),
        (["lora_unet_x.lora_down.weight"], "damaged at lora_unet_x"),
    ],
)
def test_other_files_are_named(tmp_path: Path, names: list[str], what: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({name: torch.ones(4, 4) for name in names}, str(path))
    with pytest.raises(OutputError, match=what):
        read(path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="There is no LoRA"):
        read(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"half")
    with pytest.raises(OutputError, match="damaged"):
        read(tmp_path / "a.safetensors")


def test_alpha_is_the_rank_where_a_file_has_none(tmp_path: Path) -> None:
    tensors = {"lora_unet_x.lora_down.weight": torch.ones(8, 4), "lora_unet_x.lora_up.weight": torch.ones(4, 8)}
    save_file(tensors, str(tmp_path / "a.safetensors"))
    assert read(tmp_path / "a.safetensors").layers["lora_unet_x"].alpha == 8.0


def test_unused_name(tmp_path: Path) -> None:
    assert unused_name(tmp_path, "fip") == "fip"
    (tmp_path / "FIP.safetensors").touch()
    assert unused_name(tmp_path, "fip") == "fip-2"
    (tmp_path / "fip-2-000003.safetensors").touch()  # an epoch, whose last file was deleted
    assert unused_name(tmp_path, "fip") == "fip-3"
    (tmp_path / "fip-3.png").touch()
    assert unused_name(tmp_path, "fip") == "fip-4"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "fip-4.safetensors").touch()
    assert unused_name(tmp_path, "fip") == "fip-5"
    assert unused_name(tmp_path, "fi") == "fi"
    assert unused_name(tmp_path / "none", "fip") == "fip"
