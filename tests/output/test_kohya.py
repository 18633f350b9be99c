"""kohya's own code reads our files. Run with DISTILL_KOHYA_DIR=<a checkout of sd-scripts>; none is shipped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from distill.host import Models
from distill.output.lora_file import kohya_name, save
from tests.models import tiny
from tests.models.adapters import random_lora

KOHYA = os.environ.get("DISTILL_KOHYA_DIR", "")
pytestmark = pytest.mark.skipif(not KOHYA, reason="DISTILL_KOHYA_DIR names no checkout of kohya's sd-scripts")


def test_merging_with_kohyas_code_changes_the_same(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(KOHYA)
    from networks import lora as kohya

    assert Path(kohya.__file__).is_relative_to(KOHYA)
    lora = random_lora(models, places=("attn", "ff.net", "mlp.fc", "proj_in"))
    path = tmp_path / "a.safetensors"
    save(lora, path)
    unet, text_encoder = tiny.unet(), tiny.text_encoder()
    before = weights(unet, text_encoder)
    network, state = kohya.create_network_from_weights(1.0, str(path), None, text_encoder, unet, for_inference=True)
    network.merge_to(text_encoder, unet, state, torch.float32, "cpu")
    after = weights(unet, text_encoder)
    worst = max(float((after[n] - before[n] - layer.delta()).abs().max()) for n, layer in lora.layers.items())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    sys.stderr.write(f"kohya: {len(changed)} layers, largest difference {worst:.1e}\n")
    assert changed == set(lora.layers)
    assert worst < 1e-5


def weights(unet: torch.nn.Module, text_encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        kohya_name(part, path): module.weight.detach().clone()
        for part, root in (("unet", unet), ("text_encoder", text_encoder))
        for path, module in root.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
    }
