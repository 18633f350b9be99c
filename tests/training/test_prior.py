"""Class pictures come as often as in kohya's; the teacher is the bare model to the bit, and the LoRA obeys it."""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import islice

import pytest
import torch
from PIL import Image

from distill.conditioning import hidden_states, tokenize
from distill.options import CaptionOptions, NetworkOptions, Options, RegularizationOptions, TrainOptions
from distill.training.adapter import attached, switched_off
from distill.training.encode import Source, encode
from distill.training.loop import train
from distill.training.prior import balanced, teacher_asked, without_trigger
from tests.models import tiny

FIRST = "fip zor woman"
CAPTION = f"{FIRST}, red hair"
NETWORK = {"network_dim": 4, "network_alpha": 4.0, "conv_dim": 2}


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


def picture():
    return Image.linear_gradient("L").resize((64, 64)).convert("RGB")


def latents(seed):
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def kohya(repeats, num_train_images):
    """`DreamBoothDataset.__init__` of sd-scripts 48d368fa, word for word but for its objects."""
    registered = []
    reg_infos = [[i, repeat] for i, repeat in enumerate(repeats)]
    n = 0
    first_loop = True
    while n < num_train_images:
        for info in reg_infos:
            if first_loop:
                registered.append(info)
                n += info[1]
            else:
                info[1] += 1
                n += 1
            if n >= num_train_images:
                break
        first_loop = False
    return [repeat for _, repeat in registered]


@pytest.mark.parametrize("own", [1, 5, 20, 200])
@pytest.mark.parametrize("repeats", [[1] * 7, [1] * 60, [2] * 7, [3, 1], [10]])
def test_class_pictures_are_repeated_as_kohya_repeats_them(repeats, own):
    assert balanced(repeats, own) == kohya(repeats, own)


@pytest.mark.parametrize(("count", "used"), [(7, {3: 6, 2: 1}), (60, {1: 20})])
def test_an_epoch_has_as_many_class_pictures_as_the_subjects(models, count, used):
    options = TrainOptions(repeats=20, batch_size=1)
    repeats = balanced([1] * count, 20)
    of_class = [Source(latents(i), ["woman"], r, weight=0.5) for i, r in enumerate(repeats)]
    own = [Source(picture(), [CAPTION])]
    data = encode(models, own, CaptionOptions(), flip=True, train_text_encoder=False, class_sources=of_class)
    assert data.epoch_steps(options) == 40
    draws = list(islice(data.draws(options, torch.Generator().manual_seed(0)), 80))
    orders = []
    for epoch in (draws[:40], draws[40:]):
        drawn = Counter(tuple(draw.latents.flatten()[:3].tolist()) for draw in epoch if draw.weight == 0.5)
        assert Counter(drawn.values()) == used
        orders.append([draw.weight for draw in epoch])
        assert orders[-1].count(1.0) == 20
        assert orders[-1] != sorted(orders[-1])  # shuffled together
    assert orders[0] != orders[1]


def test_an_epoch_has_its_share_of_both_where_a_batch_is_several_draws(models):
    options = TrainOptions(repeats=9, batch_size=4)
    own = [Source(picture(), [CAPTION])]
    of_class = [Source(latents(i), ["woman"], weight=0.5) for i in range(9)]
    data = encode(models, own, CaptionOptions(), flip=False, train_text_encoder=False, class_sources=of_class)
    draws = list(islice(data.draws(options, torch.Generator().manual_seed(0)), 90))
    weights = [[draw.weight for draw in draws[i : i + 5]] for i in range(0, 90, 5)]
    assert [epoch.count(1.0) for epoch in weights] == [3, 2] * 9  # 9 + 9 by 4 are 5 steps
    of_each = Counter(tuple(draw.latents[0].flatten()[:3].tolist()) for draw in draws if draw.weight == 0.5)
    assert set(of_each.values()) == {5}


def test_every_picture_counts_where_repeats_are_the_pictures(models):
    options = TrainOptions(repeats=3, repeats_of="picture", batch_size=4)
    own = [Source(picture(), [CAPTION], repeats=2), Source(picture(), [CAPTION])]
    of_class = [Source(latents(i), ["woman"], r) for i, r in enumerate(balanced([1] * 4, 9))]
    data = encode(models, own, CaptionOptions(), flip=False, train_text_encoder=False, class_sources=of_class)
    assert data.epoch_steps(options) == 5  # 9 + 9 by 4


def test_captions_without_their_trigger():
    assert without_trigger(CAPTION, FIRST, "woman") == "woman, red hair"
    assert without_trigger(f"red hair, {FIRST}", FIRST, "woman") == "red hair, woman"
    assert without_trigger("", FIRST, "woman") == "woman"
    assert without_trigger("red hair", FIRST, "woman") == "red hair"


@pytest.mark.parametrize("form", ["lora", "locon", "loha", "lokr"])
@torch.no_grad()
def test_switched_off_is_the_bare_model_to_the_bit(models, form):
    inputs = (latents(1), torch.tensor([500]), torch.randn(1, 77, tiny.WIDTH))
    ids = tokenize(models.tokenizer, [CAPTION])
    bare, words = models.unet(*inputs).sample, hidden_states(models.text_encoder, ids)
    options = NetworkOptions(network_type=form, **NETWORK)
    parts = {"unet": models.unet, "text_encoder": models.text_encoder}
    with ExitStack() as stack:
        generator = torch.Generator().manual_seed(0)
        adapters = [stack.enter_context(attached(m, p, options, generator)) for p, m in parts.items()]
        for parameter in (p for adapter in adapters for p in adapter.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        with switched_off(adapters):
            assert torch.equal(models.unet(*inputs).sample, bare)
            assert torch.equal(hidden_states(models.text_encoder, ids), words)
        assert not torch.allclose(models.unet(*inputs).sample, bare)
        assert not torch.allclose(hidden_states(models.text_encoder, ids), words)
        assert all(p.requires_grad for adapter in adapters for p in adapter.parameters())


def run(models, **changes):
    """(losses, weights, how far the bare captions moved: class, blank)"""
    flat = {
        "repeats": 4,
        "epochs": 1,
        "batch_size": 1,
        "lr_warmup": 0.0,
        "lr_scheduler": "constant",
        "unet_lr": 1e-2,
        "loraplus_lr_ratio": 1.0,
        **NETWORK,
    }
    options = Options.from_flat({**flat, **changes})
    te, reg = options.train.train_text_encoder, options.regularization
    bare = partial(without_trigger, first=FIRST, class_word="woman")
    generator = torch.Generator().manual_seed(0)
    data = encode(
        models,
        [Source(picture(), [CAPTION])],
        options.caption,
        flip=options.train.flip,
        train_text_encoder=te,
        without_trigger=bare if reg.teacher_class or reg.teacher_blank else None,
    )
    parts = {"unet": models.unet, **({"text_encoder": models.text_encoder} if te else {})}
    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(m, p, options.network, generator)) for p, m in parts.items()]
        losses = [step.loss for step in train(models, data, adapters, options, generator=generator)]
        moved = [_moved(models, adapters, prompt) for prompt in ("woman, red hair", "")]
        return losses, [p.detach().clone() for a in adapters for p in a.parameters()], moved


@torch.no_grad()
def _moved(models, adapters, prompt):
    ids = tokenize(models.tokenizer, [prompt])

    def answer():
        states = hidden_states(models.text_encoder, ids)
        return models.unet(
            latents(5).expand(4, -1, -1, -1), torch.tensor([50, 300, 600, 900]), states.expand(4, -1, -1)
        )

    with switched_off(adapters):
        bare = answer().sample
    return float((answer().sample - bare).square().mean())


def test_a_teacher_costs_nothing_before_the_lora_has_learned(models):
    plain, taught = run(models)[0], run(models, teacher_class=1.0, teacher_blank=0.5)[0]
    assert taught[0] == plain[0]
    assert taught[1] != plain[1]


def test_steps_between_ask_nobody(models):
    plain, taught = run(models, repeats=6), run(models, repeats=6, teacher_blank=5.0, teacher_every=3)
    assert taught[0][:2] == plain[0][:2]
    assert taught[0][2] > plain[0][2]  # the third one's, on top of the same loss
    asked = [
        step
        for step in range(1, 13)
        if teacher_asked(RegularizationOptions(teacher_blank=1, teacher_every=3), step - 1)
    ]
    assert asked == [3, 6, 9, 12]
    assert not any(teacher_asked(RegularizationOptions(teacher_every=1), step) for step in range(3))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_lora(models):
    first, second = run(models, teacher_class=1.0)[1], run(models, teacher_class=1.0)[1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"network_type": "lora"},
        {"network_type": "loha"},
        {"network_type": "lokr"},
        {"train_text_encoder": True, "text_encoder_lr": 1e-2},
        {"gradient_accumulation": 2, "batch_size": 2, "repeats": 60, "flip": True},
        {"network_dropout": 0.3, "caption_dropout": 0.5, "shuffle": True},
    ],
)
def test_what_the_teacher_holds_moves_less(changes):
    models = tiny.models()
    changes = {"repeats": 30, **changes}
    free = run(models, **changes)[2]
    taught = run(models, teacher_class=5.0, teacher_blank=5.0, **changes)[2]
    assert taught[0] < 0.5 * free[0]
    assert taught[1] < 0.5 * free[1]


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_result(models):
    plain = run(models, teacher_class=1.0)[1]
    checkpointed = run(models, teacher_class=1.0, gradient_checkpointing=True)[1]
    for a, b in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(a, b)
