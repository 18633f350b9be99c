"""What is in a LoRA though no caption names it: drawn and looked at, on tiny and on pocket models."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from distill.captions.captioner import CaptioningStopped
from distill.cli import main
from distill.events import Prepared
from distill.host import Describer
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.library import listed
from distill.pipeline import desk_of, distill
from distill.pocket import CHECKPOINT, PORTRAIT, world
from distill.pocket.render import render
from distill.residue import BY_CHECKPOINT, PICTURES, Asked, Looks, Residue, residue
from tests.models.host import TinyHost

PICTURE = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
QUIET = {"preview": False, "sample_every": 0, "keep_state": False, "keep_epochs": False}
QUICK = {**QUIET, "repeats": 2, "epochs": 1, "batch_size": 1, "network_dim": 4, "trigger": "fip zor", "lr_warmup": 0.0}
OURS = {
    name: value for name, value in Options().flat().items() if name in ("repeats", "epochs", "network_dim", "lr_warmup")
}
PORTRAIT_TAGS = (
    "woman, long red hair, green eyes, smile, blue sweater, earrings, holding red apple, window, yellow background, "
    "upper body"
)


def made(host, source, tags, **changes):
    """A LoRA, and what to ask about it."""
    options = Options.from_flat({**QUICK, **changes})
    image = next(e.image for e in list(distill(host, source, tags, options)) if isinstance(e, Prepared))
    lora = listed(host.lora_dir)[0]
    return Asked(lora=lora.path, image=image, called=lora.tags[0], captions=lora.tags[1:])


def answered(host, asked, captioner="auto", **more):
    options = Options.from_flat({**QUICK, "captioner": captioner, "negative": "window"})
    events = list(residue(host, asked, options, desk_of(host, host.loaded().name), **more))
    assert all(isinstance(event, Looks) for event in events[:-1])
    return events[-1]


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


class Sees:
    """A captioner of the host's that is asked for the pictures in the order in which they are looked at."""

    def __init__(self, *said):
        self.said, self.pictures = list(said), []

    def __call__(self, image):
        self.pictures.append(image)
        return self.said[len(self.pictures) - 1]


@pytest.mark.slow
def test_what_only_the_lora_brings_is_proposed_and_what_is_drawn_is_told(host, monkeypatch):
    monkeypatch.setattr("distill.residue.STEPS", 2)
    asked = made(host, PICTURE, ["woman", "red hair"])
    of_picture, plain, with_captions = "woman, red hair, window", "woman, smile", "woman, window, smile"
    said = [of_picture, *[plain] * PICTURES, *[with_captions] * PICTURES, *[plain] * 2 * PICTURES]
    sees = Sees(*said)
    host.own = (Describer(name="webui-blip", label="", describe=sees),)
    found = answered(host, asked)
    assert found.missing == ("window",)
    assert found.by == ("webui-blip",)
    assert len(found.pictures) == len(found.without) == 2 * PICTURES  # without and with captions
    assert sees.pictures == [asked.image, *found.pictures, *found.without]
    pixels = [picture.tobytes() for picture in (*found.pictures, *found.without)]
    assert len(set(pixels)) == len(pixels)

    host.own = (Describer(name="webui-blip", label="", describe=Sees(*said)),)
    again = answered(host, replace(asked, captions=(*asked.captions, "window")))
    assert again.missing == ()
    assert again.pictures[0].tobytes() == pixels[0]  # the same seed, the same picture


def test_it_stops_when_asked_and_gives_the_model_back(host):
    asked = made(host, PICTURE, ["woman", "red hair"])
    answers = iter([False, False, True])
    with pytest.raises(CaptioningStopped):
        answered(host, asked, should_stop=lambda: next(answers))
    assert host.lent == 0


def test_a_lora_that_is_not_there_is_an_error_with_a_way_out(tmp_path, capsys):
    assert main(["residue", "nobody", "--lora-dir", str(tmp_path)]) == 1
    assert "no LoRA 'nobody'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pocket(tmp_path_factory):
    """LoRAs of the bundled portrait, by whether captions were left out."""
    loras = {}
    for left_out in (("holding red apple", "window"), ()):
        tags = [tag for tag in PORTRAIT_TAGS.split(", ") if tag not in left_out]
        host = Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("lora"), device="cpu")
        loras[bool(left_out)] = host, made(host, PORTRAIT, tags, **OURS)
    return loras


@pytest.mark.long
@pytest.mark.slow
def test_captions_that_were_left_out_are_proposed(pocket):
    found = answered(*pocket[True], "pocket")
    assert isinstance(found, Residue)
    assert found.missing == ("holding red apple", "window")
    assert found.by == ("pocket",)


@pytest.mark.long
@pytest.mark.slow
def test_without_a_captioner_the_checkpoint_looks(tmp_path):
    rng = random.Random(96_000)
    attributes = replace(world.sample(rng, "star mark"), holding=rng.choice(world.VALUES["holding"][1:]))
    tags = [tag for tag in world.tags(attributes) if not tag.startswith("holding")]
    host = Standalone(CHECKPOINT, lora_dir=tmp_path, device="cpu")
    found = answered(host, made(host, render(attributes, rng, 512), tags, **OURS), "none")
    assert "holding something" in found.missing
    assert found.by == (BY_CHECKPOINT,)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("captioner", ["pocket", "none"])
def test_with_all_captions_nothing_is_proposed(pocket, captioner):
    assert answered(*pocket[False], captioner).missing == ()


@pytest.mark.long
@pytest.mark.slow
def test_the_command_says_it(pocket, capsys, tmp_path):
    host, asked = pocket[True]
    command = ["residue", asked.lora.stem, "--lora-dir", str(host.lora_dir), "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "made")]) == 0
    assert "they can't be left out later" in (said := capsys.readouterr().out)
    assert "  holding red apple\n" in said
    assert len(list(Path(tmp_path / "made").iterdir())) == 2 * PICTURES
