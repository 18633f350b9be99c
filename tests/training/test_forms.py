"""LoCon, LoHa, LoKr, block weights: which layers they train, how they start, that the file does as training did."""

import pytest
import torch

from distill.blocks import BLOCKS, PRESETS, block_of, weights_of
from distill.errors import OptionError, TrainingError
from distill.options import NetworkOptions
from distill.output import lora_file
from distill.output.applying import applied
from distill.output.lora_file import Lora, kohya_name
from distill.output.lora_layers import layer_of
from distill.training.adapter import attached, weighted
from tests.models import tiny

SIZES = {"network_dim": 4, "network_alpha": 2.0, "conv_dim": 2, "conv_alpha": 1.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def options(form, **changes):
    return NetworkOptions(network_type=form, **{**SIZES, **changes})


def inputs():
    return (
        torch.randn(1, 4, 8, 8, generator=seeded(3)),
        torch.tensor([500]),
        torch.randn(1, 77, tiny.WIDTH, generator=seeded(4)),
    )


def written(adapter):
    layers = {}
    for path, tensors in adapter.weights().items():
        alpha = float(tensors.pop("alpha"))
        layers[kohya_name(adapter.part, path)] = layer_of(tensors, alpha)
    return Lora(layers, {"ss_output_name": "x"})


def shaken(adapter):
    for tensor in adapter.parameters():
        tensor.data.add_(torch.randn(tensor.shape, generator=seeded(9)) * 0.05)


@pytest.fixture(scope="module")
def models():
    return tiny.models(unet=tiny.outer_unet())


@pytest.mark.parametrize(
    "form", ["lora", "locon", *(pytest.param(form, marks=pytest.mark.slow) for form in ("loha", "lokr"))]
)
@torch.no_grad()
def test_the_file_changes_what_training_changed(models, form, tmp_path):
    plain = models.unet(*inputs()).sample
    with attached(models.unet, "unet", options(form), seeded()) as adapter:
        torch.testing.assert_close(models.unet(*inputs()).sample, plain, atol=1e-6, rtol=0)  # a fresh one does nothing
        shaken(adapter)
        trained = models.unet(*inputs()).sample
        lora = written(adapter)
        with weighted([adapter], 0.5):
            half = models.unet(*inputs()).sample
        torch.testing.assert_close(models.unet(*inputs()).sample, trained)
    assert torch.equal(models.unet(*inputs()).sample, plain)
    assert (trained - plain).abs().max() > 1e-3
    path = tmp_path / "x.safetensors"
    lora_file.save(lora, path, precision="fp32")
    lora_file.verify(path, lora)
    read = lora_file.read(path)
    with applied(models, [(read, 1.0)]):
        torch.testing.assert_close(models.unet(*inputs()).sample, trained, atol=1e-4, rtol=1e-4)
    with applied(models, [(read, 0.5)]):
        torch.testing.assert_close(models.unet(*inputs()).sample, half, atol=1e-4, rtol=1e-4)


def test_locon_reaches_convolutions_with_their_own_rank():
    unet = tiny.outer_unet()
    with attached(unet, "unet", options("locon"), seeded()) as adapter:
        ranks = {path: target.rank for path, target in adapter.targets.items()}
        shapes = {path: adapter.tensors(path)["lora_down.weight"].shape for path in ranks}
    assert ranks["down_blocks.0.resnets.0.conv1"] == 2
    assert shapes["down_blocks.0.resnets.0.conv1"][2:] == (3, 3)
    assert ranks["down_blocks.0.resnets.0.time_emb_proj"] == 4
    assert any("downsamplers" in path for path in ranks)
    with attached(unet, "unet", options("locon", conv_dim=0), seeded()) as adapter:
        assert not any(path.endswith(("conv1", "conv2", ".conv")) for path in adapter.layers)


@pytest.mark.slow
def test_same_seed_same_start_for_every_form():
    unet = tiny.outer_unet()
    for form in ("locon", "loha", "lokr"):
        drawn = []
        for _ in range(2):
            with attached(unet, "unet", options(form), seeded(5)) as adapter:
                drawn.append([tensor.detach().clone() for tensor in adapter.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("down_blocks.0.attentions.0.proj_in", "down 1"),
        ("down_blocks.0.downsamplers.0.conv", "down 3"),
        ("down_blocks.2.attentions.1.transformer_blocks.0.attn1.to_q", "down 8"),
        ("down_blocks.3.resnets.1.conv1", "down 11"),
        ("mid_block.attentions.0.proj_in", "mid"),
        ("up_blocks.0.resnets.0.conv1", "up 0"),
        ("up_blocks.1.attentions.0.proj_in", "up 3"),
        ("up_blocks.1.upsamplers.0.conv", "up 5"),
        ("up_blocks.3.attentions.2.proj_out", "up 11"),
    ],
)
def test_blocks_are_counted_as_kohya_counts(path, block):
    assert BLOCKS[block_of(path)] == block
    assert block_of("conv_in") is None


def test_block_weights_leave_layers_out_and_scale_rates():
    unet = tiny.outer_unet()
    weights = ["1"] * 25
    weights[1], weights[13 + 9] = "0", "0.5"
    with attached(unet, "unet", options("lora", block_weights=",".join(weights)), seeded()) as adapter:
        blocks = {block_of(path) for path in adapter.layers}
        rates = {block_of(path): target.rate for path, target in adapter.targets.items()}
        assert set(adapter.rates()) == {1.0, 0.5}
    assert 1 not in blocks
    assert rates[13 + 9] == 0.5


def test_the_articles_block_weights():
    weights = weights_of("OUTD (article)")
    assert weights == weights_of("1,0,0,0,0,0,0,1,1,1,1,1/0/0,1,1,1,1,1,0,0,0,0,1,1") == PRESETS["OUTD (article)"]
    assert weights_of("") == weights_of("ALL") == (1.0,) * 25
    for wrong in ("1,1", "x", "0," * 25, "-1," * 25):
        with pytest.raises(OptionError, match="Block weights"):
            weights_of(wrong)


def test_blocks_without_layers_are_refused():
    with pytest.raises(TrainingError, match="Found no layers"):
        attached(tiny.outer_unet(), "unet", options("lora", block_weights="1" + ",0" * 24), seeded()).__enter__()


def test_extras_that_a_form_has_not_are_refused():
    with pytest.raises(OptionError, match="not for loha"):
        options("loha", network_dropout=0.1)
