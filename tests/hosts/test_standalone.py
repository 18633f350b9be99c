"""Every kind of SD1.5 checkpoint gives the same models back, and lending leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.errors import CheckpointError
from distill.host import Models
from distill.hosts.standalone import Standalone
from tests.models import ldm_file, tiny


@pytest.fixture(scope="module")
def parts() -> Models:
    return tiny.models()


def write(path: Path, parts: Models, **how) -> Path:
    vae = None if how.pop("without_vae", False) else parts.vae
    return ldm_file.write_checkpoint(path, parts.unet, vae, parts.text_encoder, **how)


def assert_same(got: Models, want: Models, tolerance: float = 1e-6) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)  # (B, 4, h, w)
    ids = torch.randint(0, 49408, (2, 77), generator=generator)
    with torch.no_grad():
        text, text_wanted = (m.text_encoder(ids).last_hidden_state for m in (got, want))
        torch.testing.assert_close(text, text_wanted, atol=tolerance, rtol=tolerance)
        noise = [m.unet(latents, torch.tensor([5, 900]), text_wanted).sample for m in (got, want)]
        torch.testing.assert_close(noise[0], noise[1], atol=tolerance, rtol=tolerance)
        assert noise[1].std() > 0.01  # a model that predicts nothing would pass
        pictures = [m.vae.decode(latents).sample for m in (got, want)]
        torch.testing.assert_close(pictures[0], pictures[1], atol=tolerance, rtol=tolerance)
        means = [m.vae.encode(pictures[1]).latent_dist.mean for m in (got, want)]
        torch.testing.assert_close(means[0], means[1], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [
        ({}, 1e-6),
        ({"dtype": torch.float16}, 2e-2),
        pytest.param({"ema": True}, 1e-6, marks=pytest.mark.slow),
        pytest.param({"text_prefix": False}, 1e-6, marks=pytest.mark.slow),
    ],
)
def test_single_file(tmp_path: Path, parts: Models, how: dict, tolerance: float) -> None:
    host = Standalone(write(tmp_path / "model.safetensors", parts, **how), lora_dir=tmp_path, device="cpu")
    with host.borrow() as models:
        assert_same(models, parts, tolerance)
        assert (models.name, models.native_px, models.prediction_type) == ("model", 512, "epsilon")
        assert len(models.sha256) == 64
        assert models.dtype == torch.float32 == models.unet.dtype
        torch.testing.assert_close(models.alphas_cumprod, tiny.alphas_cumprod())
        assert models.tokenizer("a cat", padding="max_length")["input_ids"][:4] == [49406, 320, 2368, 49407]
        assert len(models.tokenizer("a cat", padding="max_length")["input_ids"]) == 77


@pytest.mark.parametrize("prefix", ["", pytest.param("first_stage_model.", marks=pytest.mark.slow)])
def test_own_vae_replaces_the_missing_one(tmp_path: Path, parts: Models, prefix: str) -> None:
    checkpoint = write(tmp_path / "model.safetensors", parts, without_vae=True)
    vae = ldm_file.write_vae(tmp_path / "vae.safetensors", parts.vae, prefix=prefix)
    with Standalone(checkpoint, vae=vae, lora_dir=tmp_path).borrow() as models:
        assert_same(models, parts)


def test_yaml_beside_the_file_is_read(tmp_path: Path, parts: Models) -> None:
    checkpoint = write(tmp_path / "model.safetensors", parts)
    checkpoint.with_suffix(".yaml").write_text(
        "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
        "    parameterization: v\n    image_size: 16\n    scale_factor: 0.5\n    linear_end: 0.01\n"
    )
    with Standalone(checkpoint, lora_dir=tmp_path).borrow() as models:
        assert (models.prediction_type, models.native_px, models.latent_scale) == ("v_prediction", 128, 0.5)
        assert models.alphas_cumprod[-1] > tiny.alphas_cumprod()[-1]


@pytest.mark.slow
def test_a_narrow_vae_without_encoder_blocks(tmp_path: Path, parts: Models) -> None:
    vae = tiny.vae(layers_per_block=0)
    path = ldm_file.write_checkpoint(tmp_path / "model.safetensors", parts.unet, vae, parts.text_encoder)
    with Standalone(path, lora_dir=tmp_path).borrow() as models:
        assert_same(models, tiny.models(vae=vae))


@pytest.mark.slow
def test_diffusers_folder(tmp_path: Path, parts: Models) -> None:
    folder = ldm_file.write_folder(
        tmp_path / "folder",
        parts.unet,
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        prediction_type="v_prediction",
    )
    with Standalone(folder, lora_dir=tmp_path).borrow() as models:
        assert_same(models, parts)
        assert (models.name, models.native_px, models.prediction_type) == ("folder", 64, "v_prediction")
        torch.testing.assert_close(models.alphas_cumprod, tiny.alphas_cumprod())
        assert models.tokenizer("a cat")["input_ids"] == [49406, 320, 2368, 49407]


def test_a_folder_that_predicts_something_else(tmp_path: Path, parts: Models) -> None:
    folder = ldm_file.write_folder(
        tmp_path / "folder",
        parts.unet,
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        prediction_type="sample",
    )
    with pytest.raises(CheckpointError, match="predicts sample"):
        Standalone(folder, lora_dir=tmp_path).facts()


def abuse(models: Models) -> None:
    """All that a trainer does to modules, and then it is interrupted."""
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"]), models.unet)
    models.unet.train()
    models.unet.enable_gradient_checkpointing()
    models.unet.register_forward_hook(lambda *_: None)
    models.unet.conv_in.requires_grad_(True)
    models.unet.conv_in(torch.zeros(1, 4, 8, 8)).sum().backward()
    models.text_encoder.half()
    raise KeyboardInterrupt


def borrow_and_abuse(host: Standalone) -> None:
    with host.borrow() as models:
        abuse(models)


def test_lending_leaves_no_trace(tmp_path: Path, parts: Models) -> None:
    host = Standalone(write(tmp_path / "model.safetensors", parts), lora_dir=tmp_path, device="cpu")
    with host.borrow() as models:
        unet, names = models.unet, [name for name, _ in models.unet.named_modules()]
    with pytest.raises(KeyboardInterrupt):
        borrow_and_abuse(host)
    with host.borrow() as models:
        assert models.unet is unet
        assert [name for name, _ in models.unet.named_modules()] == names
        assert not hasattr(models.unet, "peft_config")
        for module in (*models.unet.modules(), *models.text_encoder.modules()):
            assert not module.training
            assert not module._forward_hooks
            assert not getattr(module, "gradient_checkpointing", False)
        for parameter in (*models.unet.parameters(), *models.text_encoder.parameters()):
            assert not parameter.requires_grad
            assert parameter.grad is None
            assert parameter.dtype == torch.float32
        assert_same(models, parts)


@pytest.mark.slow
def test_weights_written_to_come_from_the_file_again(tmp_path: Path, parts: Models) -> None:
    host = Standalone(write(tmp_path / "model.safetensors", parts), lora_dir=tmp_path, device="cpu")
    with host.borrow() as models:
        first = models.unet
        models.unet.conv_in.weight.data[0, 0, 0, 0] += 1e-3
    with host.borrow() as models:
        assert models.unet is not first
        assert_same(models, parts)


def test_one_borrower_at_a_time(tmp_path: Path, parts: Models) -> None:
    host = Standalone(write(tmp_path / "model.safetensors", parts), lora_dir=tmp_path, device="cpu")
    with host.borrow(), pytest.raises(CheckpointError, match="in use"), host.borrow():
        pass
    with host.borrow() as models:
        assert models.unet is not None


def test_a_device_that_is_not_there(tmp_path: Path, parts: Models) -> None:
    host = Standalone(write(tmp_path / "model.safetensors", parts), lora_dir=tmp_path, device="tpu9")
    with pytest.raises(CheckpointError, match="tpu9"), host.borrow():
        pass
