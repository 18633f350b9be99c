"""Whether a checkpoint sees a phrase: the mechanics on tiny models, the meaning on the pocket checkpoint."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from distill.errors import TrainingError
from distill.hosts.standalone import Standalone
from distill.pocket import CHECKPOINT, world
from distill.pocket.render import render
from distill.training.grounding import CONTROLS, DRAWS, Progress, Verdict, ground
from tests.models import tiny

TAGS = ["red hair", "green eyes", "smile"]


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


@pytest.fixture(scope="module")
def pocket():
    with Standalone(CHECKPOINT, lora_dir=Path(), device="cpu").borrow() as models:
        yield models


def check(models, tags=TAGS, seed=0, **changes):
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    generator = torch.Generator().manual_seed(seed)
    return ground(models, picture, tags, **{"class_word": "woman", "draws": 4, "generator": generator, **changes})


def verdicts(events):
    return [event for event in events if isinstance(event, Verdict)]


def test_one_verdict_a_tag_in_order_and_the_same_again(models):
    first = verdicts(check(models))
    assert [verdict.tag for verdict in first] == TAGS
    assert all(-1 <= verdict.score <= 1 for verdict in first)
    torch.manual_seed(5)  # global randomness has no say
    assert verdicts(check(models)) == first
    assert [v.score for v in verdicts(check(models, seed=1))] != [v.score for v in first]


def test_passes_are_counted_up_to_the_most_that_was_told(models):
    told = [event for event in check(models, ["hair", *TAGS]) if isinstance(event, Progress)]
    assert [event.done for event in told] == sorted({event.done for event in told})
    # the captions themselves, the invented words, four tags, and two that double each other
    assert {event.total for event in told} == {(1 + len(CONTROLS) + 4 + 2) * 4}
    assert told[-1].done <= told[-1].total
    assert told[0].tag == ""
    assert told[-1].tag == "smile"


def test_stopping_is_to_stop_and_the_models_are_as_they_were(models):
    modules = (models.unet, models.vae, models.text_encoder)
    before = [{name: p.clone() for name, p in module.state_dict().items()} for module in modules]
    models.unet.train()
    events = check(models)
    for _ in range(3):
        next(events)
    assert torch.is_grad_enabled()  # between the passes, too
    events.close()
    verdicts(check(models))
    assert models.unet.training
    models.unet.eval()
    for module, weights in zip(modules, before):
        assert all(torch.equal(p, weights[name]) for name, p in module.state_dict().items())
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_caption_longer_than_the_text_encoder_reads_is_judged_to_its_last_tag(models):
    tags = [f"{word} thing number {i}" for i, word in enumerate(["red", "green", "blue", "old", "new", "tall"] * 4)]
    last = verdicts(check(models, [tags[-1]], among=tags))[0]
    assert last.score != 0  # cut off, it would change nothing at all


def test_a_tag_that_changes_nothing_is_unknown(models):
    verdict = verdicts(check(models, ["woman"], among=["red hair"]))[0]  # said by the class already
    assert verdict.verdict == "unknown"


def test_velocity_and_clip_skip_are_heeded(models):
    plain = verdicts(check(models, ["smile"]))
    assert verdicts(check(replace(models, prediction_type="v_prediction"), ["smile"])) != plain
    assert verdicts(check(models, ["smile"], clip_skip=2)) != plain


def test_predictions_that_are_not_finite_are_an_error(models):
    broken = tiny.small_models()
    with torch.no_grad():
        broken.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        verdicts(check(broken))


def portrait(index):
    rng = random.Random(f"portrait {index}")
    attributes = world.sample(rng, world.NOVEL[index % len(world.NOVEL)])
    return attributes, render(attributes, rng)


@pytest.mark.slow
def test_what_is_there_scores_above_what_is_not(pocket):
    attributes, image = portrait(0)
    true = world.tags(attributes)
    there = true[3:5]
    others = {name: value for name, value in world.tag_meanings().items() if name not in true}
    not_there = [next(tag for tag in others if tag.endswith(end)) for end in ("background", "hat")]
    generator = torch.Generator().manual_seed(0)
    tags = [*there, *not_there]
    events = ground(pocket, image, tags, class_word=true[0], among=true[1:], draws=4, generator=generator)
    scores = {verdict.tag: verdict.score for verdict in verdicts(events)}
    assert min(scores[tag] for tag in there) > max(scores[tag] for tag in not_there)


@pytest.mark.long
@pytest.mark.slow
def test_known_words_are_known_and_unheard_ones_are_not(pocket):
    known, unheard, kinds = [], [], {"flumph pattern": "flumph pattern sweater"}
    for index in range(5):
        attributes, image = portrait(index)
        true = world.tags(attributes)
        tags = [*true[1:], attributes.novel, "flumph pattern"]
        generator = torch.Generator().manual_seed(0)
        told = list(ground(pocket, image, tags, class_word=true[0], kinds=kinds, draws=DRAWS, generator=generator))
        result = verdicts(told)
        known += [verdict.verdict for verdict in result[:-2]]
        unheard += [verdict.verdict for verdict in result[-2:]]
    assert known.count("known") >= 0.8 * len(known)
    assert unheard.count("known") <= 1
    assert "“flumph pattern sweater”" in result[-1].advice
