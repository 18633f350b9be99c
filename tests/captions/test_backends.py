"""Who captions, and what is said when nobody can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from distill.captions.backends import BACKENDS, open_captioner
from distill.captions.prose import from_caption
from distill.errors import CaptionError

PICTURE = Image.effect_noise((100, 60), 60).convert("RGB")


def test_none_says_nothing() -> None:
    for choice in ("none", "auto"):
        with open_captioner(choice) as captioner:
            assert captioner.name == "none"
            assert captioner.say(PICTURE) == ""


def test_a_folder_is_a_captioner(blip_folder: Path) -> None:
    with open_captioner(str(blip_folder)) as captioner:
        assert captioner.name == blip_folder.name
        said = captioner.say(PICTURE)
        assert said == captioner.say(PICTURE)


@pytest.mark.parametrize("choice", ["", "blip-large", "/no/such/folder", "Salesforce/blip-image-captioning-base"])
def test_an_unknown_choice_names_the_known_ones(choice: str) -> None:
    with pytest.raises(CaptionError, match="There is no captioner") as caught:
        open_captioner(choice)
    assert all(backend.name in caught.value.hint for backend in BACKENDS)


def test_listing_the_captioners_loads_none() -> None:
    code = "import sys, distill.captions.backends; print('torch' in sys.modules, 'transformers' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


def test_pocket_tags_a_portrait() -> None:
    import random

    from distill.pocket import world
    from distill.pocket.render import render

    rng = random.Random(977_123)
    right = said = true = 0
    with open_captioner("auto", auto="pocket") as captioner:
        for _ in range(8):
            attributes = world.sample(rng)
            tags = from_caption(captioner.say(render(attributes, rng)))
            assert tags[0] == attributes.person
            right += len(set(tags) & set(world.tags(attributes)))
            said, true = said + len(tags), true + len(world.tags(attributes))
    assert right / said > 0.85
    assert right / true > 0.85
