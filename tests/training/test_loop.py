"""The step learns, repeats itself bit for bit, and leaves the borrowed weights alone."""

import random
from contextlib import ExitStack

import pytest
import torch
from PIL import Image

from distill.errors import TrainingError
from distill.options import CaptionOptions, Options, TrainOptions
from distill.training.adapter import attached
from distill.training.encode import Source, caption_variants, encode
from distill.training.loop import train
from distill.training.optimizers import schedule
from tests.models import tiny

TAGS = ["fip zor woman", "red hair", "green eyes", "smile"]


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


def picture():
    return Image.linear_gradient("L").resize((64, 64)).convert("RGB")


def run(models, count=None, clip_skip=1, seed=0, **changes):
    """(losses, weights) after `count` steps."""
    options = Options.from_flat(
        {
            "repeats": 2,
            "epochs": 2,
            "batch_size": 1,
            "loraplus_lr_ratio": 1.0,
            "network_dim": 4,
            "network_alpha": 4.0,
            "clip_skip": clip_skip,
            **changes,
        }
    )
    generator = torch.Generator().manual_seed(seed)
    shuffle = lambda tags, rng: [tags[0], *rng.sample(list(tags[1:]), len(tags) - 1)]  # noqa: E731
    captions = caption_variants(TAGS, shuffle, random.Random(seed))
    te = options.train.train_text_encoder
    sources = [Source(picture(), captions)]
    data = encode(models, sources, options.caption, flip=options.train.flip, train_text_encoder=te)
    parts = {"unet": models.unet, **({"text_encoder": models.text_encoder} if te else {})}
    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(m, p, options.network, generator)) for p, m in parts.items()]
        steps = train(models, data, adapters, options, generator=generator)
        losses = [step.loss for step, _ in zip(steps, range(count or options.train.steps))]
        return losses, {a.part: a.weights() for a in adapters}


def same(a, b):
    return all(
        torch.equal(x, y)
        for part in a
        for path in a[part]
        for x, y in zip(a[part][path].values(), b[part][path].values())
    )


@pytest.mark.slow
def test_loss_falls():
    losses, _ = run(
        tiny.models(unet=tiny.outer_unet()), repeats=80, epochs=1, batch_size=4, unet_lr=1e-2, network_dim=16
    )
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_same_seed_same_bits_other_seed_other_bits(models):
    assert same(run(models)[1], run(models)[1])
    assert not same(run(models)[1], run(models, seed=1)[1])


def test_borrowed_weights_are_bit_identical(models):
    before = [p.detach().clone() for m in (models.unet, models.vae, models.text_encoder) for p in m.parameters()]
    run(models, train_text_encoder=True)
    after = [p for m in (models.unet, models.vae, models.text_encoder) for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_gradient_checkpointing_gives_the_same_lora(models):
    plain, checkpointed = run(models)[1], run(models, gradient_checkpointing=True)[1]
    for path, pair in plain["unet"].items():
        torch.testing.assert_close(pair, checkpointed["unet"][path])
    assert not models.unet.is_gradient_checkpointing


def test_text_encoder_learns_when_asked(models):
    _, weights = run(models, train_text_encoder=True, text_encoder_lr=1e-3)
    assert any(layer["lora_up.weight"].abs().max() > 0 for layer in weights["text_encoder"].values())


@pytest.mark.parametrize("clip_skip", [1, 2])
@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_clip_skip_reaches_the_step(models, clip_skip, train_text_encoder):
    losses, _ = run(models, 1, clip_skip, train_text_encoder=train_text_encoder)
    other, _ = run(models, 1, 3 - clip_skip, train_text_encoder=train_text_encoder)
    assert losses != other


def test_flip_draws_both_ways(models):
    source = Source(picture().rotate(90), TAGS)
    data = encode(models, [source], CaptionOptions(), flip=True, train_text_encoder=False)
    mean = data.items[0].mean
    assert mean.shape == (2, 4, 8, 8)
    drawn = next(data.draws(TrainOptions(batch_size=64), torch.Generator().manual_seed(0))).latents
    nearest = ((drawn[:, None] - mean[None]) ** 2).flatten(2).sum(2).argmin(1)
    assert 16 < nearest.sum() < 48


@pytest.mark.slow
def test_velocity_is_trained_too():
    models = tiny.models(unet=tiny.outer_unet(), prediction_type="v_prediction")
    losses, _ = run(models, repeats=80, epochs=1, batch_size=4, unet_lr=1e-2, network_dim=16)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(models):
    broken = tiny.small_models()
    with torch.no_grad():
        broken.unet.conv_out.bias.fill_(float("inf"))
    with pytest.raises(TrainingError, match="not a finite number at step 1"):
        run(broken)


@pytest.mark.slow
def test_half_precision_weights_train_a_float32_lora():
    half = tiny.small_models(dtype=torch.bfloat16)
    for module in (half.unet, half.text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    losses, weights = run(half, 3)
    assert all(torch.isfinite(torch.tensor(losses)))
    ups = [layer["lora_up.weight"] for layer in weights["unet"].values()]
    assert {up.dtype for up in ups} == {torch.float32}
    # At 64 px the innermost self-attention sees one token, so its queries and keys can't learn.
    assert sum(bool(up.abs().max() > 0) for up in ups) > len(ups) / 2


def rates(**options):
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    going = schedule(optimizer, TrainOptions(**options), 100)
    seen = []
    for _ in range(100):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        going.step()
    return seen


def test_learning_rate_warms_up_and_falls():
    seen = rates(lr_warmup=0.1, lr_scheduler="cosine")
    assert seen[:2] == [0, pytest.approx(0.1)]  # as transformers and kohya begin
    assert seen[10] == 1
    assert seen == sorted(seen[:11]) + sorted(seen[11:], reverse=True)
    assert seen[99] < 0.01
    assert set(rates(lr_warmup=0.0, lr_scheduler="constant")) == {1.0}
    assert rates(lr_warmup=0.1, lr_scheduler="constant")[5:15:5] == [pytest.approx(0.5), 1]
    assert rates(lr_warmup=0.0, lr_scheduler="linear")[50] == pytest.approx(0.5)
    assert rates(lr_warmup=0.0, lr_scheduler="polynomial", lr_power=2.0)[50] == pytest.approx(0.25, abs=1e-3)
    restarted = rates(lr_warmup=0.0, lr_scheduler="cosine_with_restarts", lr_cycles=4)
    assert [round(restarted[i], 2) for i in (0, 25, 50, 75)] == [1, 1, 1, 1]


def test_caption_variants_keep_the_caption_when_not_shuffled():
    assert caption_variants(TAGS, None, random.Random(0)) == ["fip zor woman, red hair, green eyes, smile"]
    shuffle = lambda tags, rng: [tags[0], *rng.sample(list(tags[1:]), 3)]  # noqa: E731
    variants = caption_variants(TAGS, shuffle, random.Random(0))
    assert len(variants) == len(set(variants)) == 6
    assert all(v.startswith("fip zor woman, ") for v in variants)
