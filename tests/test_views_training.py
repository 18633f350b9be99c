"""Views and further pictures from end to end, on the pocket checkpoint: what is trained, and that it acts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.conditioning import hidden_states, tokenize
from distill.data_set import data_set
from distill.events import Captioned, Done, Prepared
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.applying import applied
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.plan import Plan, Shot, View
from distill.pocket import CHECKPOINT, world
from distill.pocket.render import render
from distill.training.encode import encode_picture
from distill.training.noise import diffuse

pytestmark = pytest.mark.slow

TAGS = ["woman", "red hair", "green eyes", "blue dress", "yellow background", "full body", "black boots"]
QUICK = {
    "trigger": "fip zor",
    "repeats": 20,
    "epochs": 2,
    "batch_size": 1,
    "preview": False,
    "keep_epochs": False,
    "sample_every": 0,
}


def portrait(seed: int) -> Image.Image:
    rng = random.Random(seed)
    return render(world.sample(rng, "star mark"), rng, 256)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Standalone:
    return Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("Lora"), device="cpu")


def train(host: Standalone, plan: Plan, **changes: Any) -> tuple[Prepared, Captioned, Done]:
    options = Options.from_flat({**QUICK, **changes})
    events = list(distill(host, portrait(3), TAGS, options, plan=plan))
    prepared, captioned = (next(e for e in events if isinstance(e, kind)) for kind in (Prepared, Captioned))
    assert isinstance(events[-1], Done)
    return prepared, captioned, events[-1]


def losses(host: Standalone, image: Image.Image, tags: tuple[str, ...], lora: Path | None) -> float:
    """Mean squared error of the prediction for one picture and its caption, on a fixed bank of timesteps and noise."""
    with host.borrow() as models, torch.no_grad():
        latents = encode_picture(models, image, flip=False)[0].repeat(6, 1, 1, 1)
        timesteps = torch.tensor([100, 250, 400, 550, 700, 850])
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(9))
        noisy = diffuse(latents, noise, timesteps, models.alphas_cumprod)
        ids = tokenize(models.tokenizer, [", ".join(tags)], 75)
        states = hidden_states(models.text_encoder, ids[0][None], 1).repeat(6, 1, 1)
        with applied(models, [(read(lora), 1.0)] if lora else []):
            return float(torch.mean((models.unet(noisy, timesteps, states).sample - noise) ** 2))


def metadata(path: Path) -> dict[str, str]:
    with safe_open(str(path), "pt") as file:
        return dict(file.metadata())


@pytest.mark.long
def test_proposed_views_are_trained_each_with_its_captions(host: Standalone) -> None:
    chosen = {"views": "upper body, face, head out of frame", "view_min_px": 100}
    prepared, captioned, done = train(host, Plan(), **chosen)
    assert [(cut.name, cut.repeats) for cut in prepared.cuts] == [("", 2), ("face", 1), ("head out of frame", 1)]
    assert any(note.startswith("View upper body is left out") for note in prepared.notes)
    assert captioned.of_cuts == (
        ("fip zor woman", *TAGS[1:]),
        ("fip zor woman", "close-up", "face", "red hair", "green eyes", "blue dress", "yellow background"),
        ("fip zor woman", "head out of frame", "blue dress", "yellow background", "black boots"),
    )
    with host.borrow() as models:
        data = data_set(models, prepared, captioned, Options.from_flat({**QUICK, **chosen}))
    assert [item.repeats for item in data.items] == [2, 1, 1]
    for cut, tags in zip(prepared.cuts, captioned.of_cuts, strict=True):
        assert losses(host, cut.image, tags, done.path) < 0.93 * losses(host, cut.image, tags, None)
    about = metadata(done.path)
    assert json.loads(about["ss_dataset_dirs"]) == {
        "10_fip_zor": {"n_repeats": 10, "img_count": 1},
        "5_fip_zor": {"n_repeats": 5, "img_count": 2},
    }
    assert json.loads(about["ss_tag_frequency"])["5_fip_zor"]["close-up"] == 1


@pytest.mark.long
def test_two_pictures_each_with_its_captions_views_and_repeats(host: Standalone) -> None:
    face = View(name="face", box=(0.2, 0.1, 0.8, 0.7), words=("close-up",), repeats=2)
    other = Shot(source=portrait(4), tags=("woman", "brown hair"), plan=Plan(views=(), repeats=3))
    plan = Plan(views=(face,), repeats=1, more=(other,))
    prepared, captioned, done = train(host, plan, repeats_of="picture", repeats=2, epochs=4)
    assert [(cut.name, cut.shot, cut.repeats) for cut in prepared.cuts] == [("", 0, 1), ("face", 0, 2), ("", 1, 3)]
    assert captioned.of_cuts[2] == ("fip zor woman", "brown hair")
    assert done.step == Options.from_flat({**QUICK, "repeats_of": "picture", "repeats": 2, "epochs": 4}).steps_of(6)
    assert losses(host, prepared.cuts[2].image, captioned.of_cuts[2], done.path) < losses(
        host, prepared.cuts[2].image, captioned.of_cuts[2], None
    )
    assert metadata(done.path)["ss_num_train_images"] == "12"
