"""Dropout, running means, limited norms, accumulation, dropped captions, masks: each acts, and none is left behind."""

import random

import pytest
import torch
from PIL import Image

from distill.options import CaptionOptions, NetworkOptions, Options, TrainOptions
from distill.training.adapter import attached
from distill.training.averages import Average, limit_norms
from distill.training.dropout import Dropout
from distill.training.encode import Source, encode
from distill.training.loop import train
from tests.models import tiny

NETWORK = {"network_dim": 4, "network_alpha": 4.0}


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


def picture():
    return Image.linear_gradient("L").resize((64, 64)).convert("RGB")


def losses(models, count=2, mask=None, **changes):
    options = Options.from_flat(
        {"repeats": count, "epochs": 1, "batch_size": 1, "lr_warmup": 0.0, **NETWORK, **changes}
    )
    generator = torch.Generator().manual_seed(0)
    data = encode(
        models, [Source(picture(), ["a woman"], mask=mask)], options.caption, flip=False, train_text_encoder=False
    )
    with attached(models.unet, "unet", options.network, generator) as adapter:
        found = [step.loss for step in train(models, data, [adapter], options, generator=generator)]
        return found, adapter.weights()


def shaken(models, options=None):
    return attached(models.unet, "unet", options or NetworkOptions(**NETWORK), torch.Generator().manual_seed(1))


def inputs():
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(1, 4, 8, 8, generator=generator),
        torch.tensor([500]),
        torch.randn(1, 77, tiny.WIDTH, generator=generator),
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["network_dropout", "rank_dropout", "module_dropout"])
def test_dropout_leaves_something_out_and_is_the_same_for_the_same_draw(models, kind):
    options = NetworkOptions(**NETWORK, **{kind: 0.5})
    with shaken(models, options) as adapter:
        for tensor in adapter.parameters():
            tensor.data.add_(0.05)
        full = models.unet(*inputs()).sample
        dropout = Dropout(options)
        with dropout.on([adapter]):
            dropout.begin(torch.Generator().manual_seed(3))
            first, again = models.unet(*inputs()).sample, models.unet(*inputs()).sample
            dropout.begin(torch.Generator().manual_seed(4))
            other = models.unet(*inputs()).sample
        assert torch.equal(first, again)
        assert not torch.equal(first, full)
        assert not torch.equal(first, other)
        assert torch.equal(models.unet(*inputs()).sample, full)  # and no hook stays


@pytest.mark.slow
def test_checkpointing_with_dropout_gives_the_same_losses(models):
    plain = losses(models, network_dropout=0.3)[0]
    assert losses(models, network_dropout=0.3, gradient_checkpointing=True)[0] == pytest.approx(plain, rel=1e-4)


def test_the_running_mean_lags_behind_and_the_weights_come_back(models):
    with shaken(models) as adapter:
        average = Average([adapter], 0.9)
        first = adapter.parameters()[0].detach().clone()
        for _ in range(5):
            adapter.parameters()[0].data.add_(1.0)
            average.update()
        last = adapter.parameters()[0].detach().clone()
        with average.instead():
            mean = adapter.parameters()[0].detach().clone()
        assert torch.equal(adapter.parameters()[0], last)
        assert ((mean > first) & (mean < last)).all()
        with Average([adapter], 0.0).instead():
            assert torch.equal(adapter.parameters()[0], last)


def test_norms_are_limited_as_the_product_has_them(models):
    with shaken(models) as adapter:
        for tensor in adapter.parameters():
            tensor.data.add_(0.3)
        limit_norms([adapter], 0.5)
        for path in adapter.layers:
            tensors = adapter.tensors(path)
            change = tensors["lora_up.weight"].flatten(1) @ tensors["lora_down.weight"].flatten(1)
            assert float(change.norm()) == pytest.approx(0.5, rel=1e-3)


def test_accumulated_batches_are_drawn_anew_and_their_losses_averaged(models):
    still = {"unet_lr": 0.0}  # so that every draw meets the same weights
    single, _ = losses(models, count=4, **still)
    double, _ = losses(models, count=2, gradient_accumulation=2, **still)
    assert double == pytest.approx([sum(single[:2]) / 2, sum(single[2:]) / 2])


def test_a_mask_takes_its_part_out_of_the_loss(models):
    nothing = losses(models, mask=Image.new("L", (64, 64), 0))[0]
    everything = losses(models, mask=Image.new("L", (64, 64), 255))[0]
    assert nothing[0] == 0
    assert everything == pytest.approx(losses(models)[0])


def test_captions_are_left_out_by_chance(models):
    options = CaptionOptions(caption_dropout=0.5)
    data = encode(models, [Source(picture(), ["a woman"])], options, flip=False, train_text_encoder=False)
    drawn = next(data.draws(TrainOptions(batch_size=64), torch.Generator().manual_seed(0))).rows
    assert 20 < int((drawn == data.blank).sum()) < 44


def test_pictures_come_as_often_as_their_repeats_say(models):
    sources = [Source(picture(), ["a woman"], repeats=3), Source(picture(), ["b"], repeats=1, weight=0.5)]
    data = encode(models, sources, CaptionOptions(), flip=False, train_text_encoder=False)
    draws = data.draws(TrainOptions(), torch.Generator().manual_seed(0))
    weights = [next(draws).weight for _ in range(8)]
    assert sorted(weights[:4]) == sorted(weights[4:]) == [0.5, 1, 1, 1]


def test_tags_are_left_out_but_the_first_stay():
    from distill.training.encode import caption_variants

    rng = random.Random(0)

    def vary(tags, rng):
        return [tag for i, tag in enumerate(tags) if i < 1 or rng.random() >= 0.5]

    variants = caption_variants(["fip woman", "a", "b", "c"], vary, rng)
    assert all(variant.startswith("fip woman") for variant in variants)
    assert len(variants) == 8


def test_long_captions_are_read_in_chunks(models):
    long = ", ".join(["red hair"] * 60)
    for length, tokens in ((75, 77), (150, 152), (225, 227)):
        options = CaptionOptions(max_token_length=length)
        data = encode(models, [Source(picture(), [long])], options, flip=False, train_text_encoder=False)
        assert data.encoder_hidden_states.of(torch.tensor([0])).shape[1] == tokens
