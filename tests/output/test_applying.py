"""A LoRA on a borrowed model: the effect of changed weights, with no weight changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.errors import OutputError
from distill.host import Models
from distill.output.applying import applied
from distill.output.lora_file import Lora, kohya_name, save
from tests.models import tiny
from tests.models.adapters import random_lora


def predict(models: Models) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    ids = torch.randint(0, 49408, (1, 77), generator=generator)
    with torch.no_grad():
        return models.unet(latents, torch.tensor([500]), models.text_encoder(ids).last_hidden_state).sample


@contextmanager
def merged(models: Models, lora: Lora, weight: float) -> Iterator[Models]:
    """A copy of the models with the LoRA added to the weights themselves."""
    copy = replace(models, unet=tiny.outer_unet(), text_encoder=tiny.text_encoder())
    for part, root in (("unet", copy.unet), ("text_encoder", copy.text_encoder)):
        for path, module in root.named_modules():
            layer = lora.layers.get(kohya_name(part, path))
            if layer is not None:
                module.weight += weight * layer.delta()
    yield copy


def test_equals_merged_weights(models: Models) -> None:
    lora = random_lora(models)
    without = predict(models)
    with applied(models, [(lora, 0.6)]):
        hooked = predict(models)
    with merged(models, lora, 0.6) as copy:
        wanted = predict(copy)
    assert (wanted - without).abs().max() > 1e-2
    torch.testing.assert_close(hooked, wanted, atol=1e-5, rtol=1e-5)


def test_two_at_once_add_up_and_weight_0_is_nothing(models: Models) -> None:
    lora = random_lora(models)
    without = predict(models)
    with applied(models, [(lora, 0.3), (lora, 0.3)]):
        twice = predict(models)
    with applied(models, [(lora, 0.6)]):
        torch.testing.assert_close(predict(models), twice, atol=1e-5, rtol=1e-5)
    with applied(models, [(lora, 0.0)]):
        assert torch.equal(predict(models), without)


def test_leaves_no_trace(models: Models) -> None:
    without, hooks = predict(models), hooks_of(models)  # transformers may keep some of its own
    with pytest.raises(KeyboardInterrupt), applied(models, [(random_lora(models), 1.0)]):
        raise KeyboardInterrupt
    assert torch.equal(predict(models), without)
    assert hooks_of(models) == hooks


def hooks_of(models: Models) -> list[int]:
    return [len(module._forward_hooks) for root in (models.unet, models.text_encoder) for module in root.modules()]


def test_keys_that_match_nothing(models: Models) -> None:
    lora = random_lora(models)
    layer = next(iter(lora.layers.values()))
    odd = Lora({**lora.layers, "lora_unet_input_blocks_1_1_proj_in": layer}, lora.metadata)
    with (
        pytest.raises(OutputError, match="no layer for 1 keys, for example lora_unet_input_blocks"),
        applied(models, [(odd, 1.0)]),
    ):
        pass


def test_a_lora_for_a_wider_model(models: Models) -> None:
    wider = replace(models, text_encoder=tiny.text_encoder(hidden_size=128, num_attention_heads=2))
    with pytest.raises(OutputError, match="made for another model"), applied(models, [(random_lora(wider), 1.0)]):
        pass


def test_diffusers_loads_the_file_and_changes_the_same(models: Models, tmp_path: Path) -> None:
    """StableDiffusionPipeline.load_lora_weights + fuse_lora: the same weight change within 1e-5."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from diffusers.utils import USE_PEFT_BACKEND

    if not USE_PEFT_BACKEND:
        pytest.skip("diffusers' loader does not work with this transformers (A1111's)")
    lora = random_lora(models, places=("attn", "ff.net", "mlp.fc", "self_attn"))
    save(lora, tmp_path / "a.safetensors", precision="fp32")
    pipeline = StableDiffusionPipeline(
        vae=models.vae,
        text_encoder=tiny.text_encoder(),
        tokenizer=models.tokenizer,
        unet=tiny.outer_unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    before = weights(pipeline)
    pipeline.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    after = weights(pipeline)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(lora.layers)
    for name, layer in lora.layers.items():
        torch.testing.assert_close(after[name] - before[name], layer.delta(), atol=1e-5, rtol=0)


def weights(pipeline: object) -> dict[str, torch.Tensor]:
    parts = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {
        kohya_name(part, path): module.weight.detach().clone()
        for part, root in parts.items()
        for path, module in root.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
