"""On a checkpoint that knows its world: what keeps the class keeps it, with pictures and with a teacher."""

import random

import pytest
import torch

from distill.conditioning import hidden_states, tokenize
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.applying import applied
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, world
from distill.pocket.render import render
from distill.training.encode import encode_picture
from distill.training.noise import diffuse

QUICK = {"epochs": 4, "preview": False, "keep_epochs": False, "sample_every": 0, "sample_steps": 8, "meters": False}


@torch.no_grad()
def answers(models, people):
    """What is said to pictures of other people by their captions: (people, timesteps, 4, h, w)."""
    timesteps, said = torch.tensor([100, 350, 600, 850]), []
    for person in people:
        latents, _ = encode_picture(models, render(person, random.Random(0)), flip=False)
        noise = torch.randn((4, *latents.shape[1:]), generator=torch.Generator().manual_seed(1))
        states = hidden_states(models.text_encoder, tokenize(models.tokenizer, [", ".join(world.tags(person))]))
        noisy = diffuse(latents.expand_as(noise), noise, timesteps, models.alphas_cumprod)
        said.append(models.unet(noisy, timesteps, states.expand(4, -1, -1)).sample)
    return torch.stack(said)


@pytest.mark.long
@pytest.mark.slow
def test_class_prompts_without_the_trigger_move_less(tmp_path):
    host, rng = Standalone(CHECKPOINT, lora_dir=tmp_path), random.Random(4)
    subject = world.sample(random.Random(90_104), "star mark")
    people = [other for other in (world.sample(rng) for _ in range(20)) if other.person == subject.person][:4]
    ways = {
        "none": {},
        "pictures": {"reg_pictures": "generate", "reg_prompt": f"{subject.person}, {{blue|green|pink}} background"},
        "teacher": {"teacher_class": 1.0},
    }
    with host.borrow() as models:
        base = answers(models, people)
    moved = {}
    for name, changes in ways.items():
        options = Options.from_flat({**QUICK, "name": name, **changes})
        done = list(distill(host, render(subject, random.Random(0)), world.tags(subject), options))[-1]
        with host.borrow() as models, applied(models, [(read(done.path), 1.0)]):
            moved[name] = float((answers(models, people) - base).square().mean())
    assert moved["pictures"] < 0.9 * moved["none"], moved
    assert moved["teacher"] < 0.7 * moved["none"], moved
