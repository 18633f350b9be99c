"""Class pictures made by the checkpoint: varied, kept, gone on with, made anew when damaged."""

import random
from dataclasses import replace

import pytest
import torch

from distill.errors import TrainingError
from distill.options import Options
from distill.output.sampling import decode, generate, sampled_latents
from distill.regularization.generated import generated, kind_of
from distill.regularization.prompts import default_template, expanded
from tests.models import tiny


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


@pytest.fixture
def kind(models):
    options = Options.from_flat({"sample_steps": 2, "reg_prompt": "woman, {smile|serious}"})
    return kind_of(models, options, "woman", (64, 64))


def made(models, kind, folder, count, should_stop=lambda: False):
    """(pictures, how many were made now)"""
    steps = generated(models, kind, folder, count, should_stop)
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, [(t.done, t.total) for t in told]


def test_every_choice_of_a_template_comes_and_the_same_number_gives_the_same():
    drawn = [expanded("woman, {a|b {x|y}|}, {c}", random.Random(i)) for i in range(40)]
    assert set(drawn) == {"woman, a, c", "woman, b x, c", "woman, b y, c", "woman, c"}
    assert drawn == [expanded("woman, {a|b {x|y}|}, {c}", random.Random(i)) for i in range(40)]
    assert expanded("no choice} {", random.Random(0)) == "no choice} {"


def test_the_default_varies_the_class():
    prompts = {expanded(default_template("man"), random.Random(i)) for i in range(20)}
    assert len(prompts) == 20
    assert all(prompt.startswith("man, ") and len(prompt.split(", ")) == 5 for prompt in prompts)


def test_made_once_and_kept_to_the_bit(models, kind, tmp_path):
    first, told = made(models, kind, tmp_path, 2)
    assert told == [(0, 2), (1, 2), (2, 2)]
    again, told = made(models, kind, tmp_path, 2)
    assert told == []
    assert all(torch.equal(a.image, b.image) and a.caption == b.caption for a, b in zip(first, again, strict=True))
    more, told = made(models, kind, tmp_path, 3)
    assert told == [(2, 3), (3, 3)]
    assert torch.equal(more[1].image, first[1].image)
    assert not torch.equal(more[1].image, more[0].image)
    assert not list(tmp_path.rglob("*.safetensors"))  # a WebUI would list them as LoRAs


def test_they_are_what_the_sampler_makes(models, kind):
    sample = replace(Options().sample, sample_steps=2, sample_seed=7)
    latents = sampled_latents(models, "woman", sample, on_step=lambda done: None)
    assert decode(models, latents).tobytes() == generate(models, "woman", sample)[0].tobytes()


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_a_damaged_one_is_made_anew(models, kind, tmp_path, damage):
    first, _ = made(models, kind, tmp_path, 2)
    path = sorted(tmp_path.rglob("*.latents"))[1]
    path.write_bytes(path.read_bytes()[:-8] if damage is None else damage)
    again, told = made(models, kind, tmp_path, 2)
    assert told == [(1, 2), (2, 2)]
    assert torch.equal(again[1].image, first[1].image)
    assert made(models, kind, tmp_path, 2)[1] == []


def test_stopped_between_steps_it_goes_on_where_it_was(models, kind, tmp_path):
    asked = iter([False] * 4 + [True])
    with pytest.raises(TrainingError, match="1 of 3 class pictures are made and kept"):
        made(models, kind, tmp_path, 3, lambda: next(asked))
    assert made(models, kind, tmp_path, 3)[1] == [(1, 3), (2, 3), (3, 3)]


def test_another_checkpoint_prompt_or_sampler_is_another_set(models, kind):
    options = Options.from_flat({"sample_steps": 2, "reg_prompt": "woman, {smile|serious}"})
    others = [
        kind_of(tiny_named(models, sha256="1"), options, "woman", (64, 64)),
        kind_of(models, options, "woman", (64, 128)),
        kind_of(models, Options.from_flat({"sample_steps": 2}), "woman", (64, 64)),
        kind_of(models, Options.from_flat({"sample_steps": 2}), "man", (64, 64)),
        replace(kind, steps=3),
        replace(kind, negative="blurry"),
        replace(kind, cfg_scale=7.0),
        replace(kind, clip_skip=2),
    ]
    assert len({kind.key, *(other.key for other in others)}) == 1 + len(others)
    assert kind_of(models, options, "woman", (64, 64)).key == kind.key


def tiny_named(models, **changes):
    return replace(models, **changes)


def test_where_nothing_can_be_kept_they_are_made_all_the_same(models, kind, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    pictures, told = made(models, kind, tmp_path / "file", 1)
    assert len(pictures) == 1
    assert told == [(0, 1), (1, 1)]


def test_numbers_that_are_not_finite_are_said(kind, tmp_path):
    broken = tiny.small_models()
    with torch.no_grad():
        broken.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        made(broken, kind, tmp_path, 1)
    assert not list(tmp_path.rglob("*.latents"))
