"""On the pocket checkpoint: with a subject mask a LoRA learns the subject, and little of what is behind it."""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distill.conditioning import hidden_states, tokenize
from distill.events import Captioned, Done
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.applying import applied
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.plan import Plan
from distill.pocket import CHECKPOINT, world
from distill.pocket.render import render
from distill.training.encode import encode_mask, encode_picture
from distill.training.noise import diffuse

SEED = 3
QUICK = {"repeats": 25, "epochs": 1, "preview": False, "keep_epochs": False, "sample_every": 0, "trigger": "fip zor"}
BANK = [(t, seed) for t in (150, 350, 550, 750) for seed in range(2)]


def subject() -> world.Attributes:
    drawn = world.sample(random.Random(SEED), "striped scarf")
    return replace(drawn, tree="tree", window="window", background="orange", framing="upper body")


def true_mask(a: world.Attributes) -> Image.Image:
    """What stays as it is when the wall changes and nothing hangs on it."""
    bare = replace(a, tree=world.ABSENT, window=world.ABSENT)
    one, other = (
        np.asarray(render(replace(bare, background=colour), random.Random(SEED))).astype(int)
        for colour in ("blue", "orange")
    )
    return Image.fromarray(((np.abs(one - other).max(axis=2) == 0) * 255).astype(np.uint8))


def errors(models: Any, image: Image.Image, caption: str, lora: Any = None) -> torch.Tensor:
    """(h, w): squared error of the prediction over the training picture, mean over a fixed bank of noise."""
    latents, _ = encode_picture(models, image, flip=False)
    states = hidden_states(models.text_encoder, tokenize(models.tokenizer, [caption], 75)[0][None], 1)
    timesteps = torch.tensor([t for t, _ in BANK])
    noise = torch.cat([torch.randn(latents.shape, generator=torch.Generator().manual_seed(s)) for _, s in BANK])
    noisy = diffuse(latents.expand_as(noise), noise, timesteps, models.alphas_cumprod)
    with torch.no_grad(), applied(models, [(lora, 1.0)]) if lora else nullcontext():
        predicted = models.unet(noisy, timesteps, states.expand(len(BANK), -1, -1)).sample
    return ((predicted - noise) ** 2).mean(dim=(0, 1))


def learned(host: Standalone, plan: Plan, **given: Any) -> tuple[float, float]:
    """The share of the checkpoint's error that the LoRA takes away, on the subject and on the background."""
    a = subject()
    image = render(a, random.Random(SEED))
    tags = [tag for tag in world.tags(a) if tag not in ("tree", "window", "orange background")]
    events = list(distill(host, image, tags, Options.from_flat({**QUICK, **given}), plan=plan))
    done, captioned = events[-1], next(event for event in events if isinstance(event, Captioned))
    assert isinstance(done, Done)
    caption = ", ".join(captioned.tags)
    with host.borrow() as models:
        before, after = errors(models, image, caption), errors(models, image, caption, read(done.path))
    inside = encode_mask(true_mask(a), (16, 16), flip=False)[0, 0]
    parts = (inside == 1), (inside == 0)
    return tuple(float(1 - after[part].mean() / before[part].mean()) for part in parts)  # type: ignore[return-value]


@pytest.mark.long
@pytest.mark.slow
def test_the_background_is_learned_less_with_a_mask(tmp_path: Path) -> None:
    host = Standalone(CHECKPOINT, lora_dir=tmp_path)
    masked = Plan(mask=true_mask(subject()))
    plain = learned(host, Plan(), mask="none")
    weak = learned(host, masked)
    none = learned(host, masked, unmasked_weight=0.0)
    told = f"(subject, background): {plain} without a mask, {weak} with 0.1 outside it, {none} with 0"
    assert plain[1] > 0.1, told
    assert none[1] < 0.5 * plain[1], told
    assert none[1] <= weak[1] < plain[1], told
    assert min(weak[0], none[0]) > 0.7 * plain[0], told
