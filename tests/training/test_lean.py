"""The lean step: the same LoRA within rounding, each seed its own bits, and a module that is as it was."""

from contextlib import ExitStack, nullcontext
from functools import cache

import pytest
import torch
from PIL import Image

from distill.options import Options
from distill.training import loop
from distill.training.adapter import attached, switched_off
from distill.training.encode import Source, encode
from distill.training.lean import blocks, convolutions, gates, lean, products
from tests.models import tiny
from tests.training.test_adapter import assert_untouched, fingerprint
from tests.training.test_products import needs_one_dnn

STEPS = 3


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


def run(models, **changes):
    """(losses, weights by part and path) after STEPS steps."""
    flat = {"repeats": STEPS, "epochs": 1, "batch_size": 1, "network_dim": 4, "network_alpha": 2.0, "unet_lr": 1e-3}
    options = Options.from_flat({**flat, **changes})
    te = options.train.train_text_encoder
    generator = torch.Generator().manual_seed(0)
    # At 64 px the innermost attention sees one token: its gradients are rounding alone, and Adam makes steps of them.
    source = Source(Image.linear_gradient("L").resize((128, 128)).convert("RGB"), ["fip zor woman, smile"])
    data = encode(models, [source], options.caption, flip=True, train_text_encoder=te, without_trigger=str)
    parts = {"unet": models.unet, **({"text_encoder": models.text_encoder} if te else {})}
    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(m, p, options.network, generator)) for p, m in parts.items()]
        losses = [step.loss for step in loop.train(models, data, adapters, options, generator=generator)]
        return losses, {a.part: a.weights() for a in adapters}


@pytest.fixture(scope="module")
def eager(models):
    """The same without lean steps; each comes from its seed, so that one of a kind will do."""

    @cache
    def made(**changes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "lean", lambda *_: nullcontext())
            return run(models, **changes)

    return made


def distance(found, expected):
    """Of two LoRAs, relative to the second."""
    pairs = [
        (found[part][path][name], tensor)
        for part, layers in expected.items()
        for path, tensors in layers.items()
        for name, tensor in tensors.items()
    ]
    off = sum(float((a - b).square().sum()) for a, b in pairs)
    return (off / sum(float(b.square().sum()) for _, b in pairs)) ** 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_text_encoder": True, "batch_size": 2},
        pytest.param({"network_type": "locon", "conv_dim": 2, "gradient_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param({"network_dim": 64, "teacher_blank": 0.5}, marks=pytest.mark.slow),
        pytest.param({"network_dropout": 0.2, "rank_dropout": 0.1}, marks=pytest.mark.slow),
        pytest.param({"network_type": "loha"}, marks=pytest.mark.slow),
        pytest.param({"network_type": "lokr"}, marks=pytest.mark.slow),
        pytest.param({"block_weights": "MIDD"}, marks=pytest.mark.slow),
    ],
    ids=lambda changes: " ".join(changes) or "plain",
)
def test_the_lora_is_the_same_within_rounding(models, eager, changes):
    losses, weights = run(models, **changes)
    expected_losses, expected = eager(**changes)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert distance(weights, expected) < 1e-4


def test_the_lora_is_the_same_with_every_way_of_a_convolution(models, eager, monkeypatch):
    expected_losses, expected = eager()
    monkeypatch.setattr(convolutions, "LEAST", 1)
    monkeypatch.setattr(convolutions, "tile", lambda height, width: 4 if height == width == 16 else 2 * (height == 8))
    losses, weights = run(models)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    assert distance(weights, expected) < 1e-3


@needs_one_dnn
@pytest.mark.parametrize("changes", [{}, {"network_dim": 64, "batch_size": 2}], ids=["apart", "merged"])
def test_the_lora_is_the_same_where_onednn_is_ahead(models, eager, monkeypatch, changes):
    expected_losses, expected = eager(**changes)
    monkeypatch.setattr(products, "is_ahead", lambda: True)
    for module in (products, blocks, convolutions):
        monkeypatch.setattr(module, "LEAST", 1)
    monkeypatch.setattr(gates, "LARGE", 1)
    monkeypatch.setattr(gates, "BLOCK", 48)  # the tiny model has 256 tokens
    monkeypatch.setattr(blocks, "BLOCK", 48 * 256)
    losses, weights = run(models, **changes)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert distance(weights, expected) < 1e-4


def test_same_seed_same_bits(models):
    first, again = run(models), run(models)
    assert first[0] == again[0]
    assert distance(again[1], first[1]) == 0


def fail_inside(models):
    options = Options.from_flat({"network_dim": 4})
    with (
        attached(models.unet, "unet", options.network, torch.Generator()) as adapter,
        lean(models, [adapter], options),
    ):
        assert any("forward" in vars(module) for module in models.unet.modules())
        raise ZeroDivisionError


def test_every_module_is_as_it_was_after_an_error(models):
    before = fingerprint(models.unet)
    with pytest.raises(ZeroDivisionError):
        fail_inside(models)
    assert_untouched(models.unet, before)


def test_a_switched_off_lora_answers_as_the_checkpoint(models):
    options = Options.from_flat({"network_dim": 4})
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([5]), torch.randn(1, 77, tiny.WIDTH)
    with attached(models.unet, "unet", options.network, torch.Generator()) as adapter, torch.no_grad():
        for parameter in adapter.parameters():
            parameter.data.fill_(0.05)
        with switched_off([adapter]):
            plain = models.unet(*inputs).sample
        with lean(models, [adapter], options):
            learned = models.unet(*inputs).sample
            with switched_off([adapter]):
                torch.testing.assert_close(models.unet(*inputs).sample, plain)
    assert (learned - plain).abs().max() > 1e-3
