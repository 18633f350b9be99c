"""Checkpoints as a person has them, and each kind of fake WebUI around the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.hosts.kinds import UNET
from tests.fakewebui import FakeA1111, FakeForge, FakeReForge
from tests.models import ldm_file, tiny

YAML = """model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    parameterization: {kind}
    image_size: 8
    scale_factor: 0.2
    unet_config: {{params: {{num_heads: 4}}}}
    cond_stage_config: {{clip_config: {{num_attention_heads: 2}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints as a person has them: two SD1.5 ones whose heads are not SD1.5's, a VAE, and one of another kind."""
    made = tmp_path_factory.mktemp("Stable-diffusion")
    text = tiny.text_encoder(num_attention_heads=2)
    for i, (name, kind) in enumerate((("first", "eps"), ("other", "v"))):
        unet = tiny.outer_unet(seed=10 * i, attention_head_dim=4)
        ldm_file.write_checkpoint(made / f"{name}.safetensors", unet, tiny.vae(), text)
        (made / f"{name}.yaml").write_text(YAML.format(kind=kind))
    ldm_file.write_vae(made / "a.vae.safetensors", tiny.vae(seed=7))
    tensors = {k: t for k, t in load_file(str(made / "first.safetensors")).items() if not k.startswith("betas")}
    save_file({**tensors, UNET + "label_emb.0.0.weight": torch.zeros(2, 2)}, str(made / "xl.safetensors"))
    tensors[UNET + "input_blocks.0.0.weight"] = torch.zeros(32, 9, 3, 3)
    save_file(tensors, str(made / "inpainting.safetensors"))
    for name in ("xl", "inpainting"):
        (made / f"{name}.yaml").write_text(YAML.format(kind="eps"))
    return made


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    return folder / "first.safetensors"


@pytest.fixture(
    params=[FakeA1111, FakeForge, pytest.param(FakeReForge, marks=pytest.mark.slow)], ids=["A1111", "Forge", "reForge"]
)
def webui(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path) -> Any:
    return request.param(monkeypatch, tmp_path, checkpoint)
