"""Who captions, and what is said when nobody can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from distill.captions.backends import Desk, open_captioner, resolved
from distill.captions.prose import from_caption
from distill.errors import CaptionError
from distill.options import CaptionOptions

PLAIN = CaptionOptions()
PICTURE = Image.effect_noise((100, 60), 60).convert("RGB")


def test_none_says_nothing() -> None:
    assert resolved(PLAIN, Desk()) == ()
    assert resolved(CaptionOptions(captioner="none"), Desk()) == ()
    with open_captioner("none", PLAIN, Desk()) as captioner:
        assert captioner.name == "none"
        assert captioner.say(PICTURE) == ""


def test_auto_takes_what_is_at_hand() -> None:
    assert resolved(PLAIN, Desk(checkpoint="pocket")) == ("pocket",)
    assert resolved(CaptionOptions(endpoint="http://127.0.0.1:9/v1"), Desk()) == ("endpoint",)


def test_several_are_joined_with_a_plus(tmp_path: Path) -> None:
    assert resolved(CaptionOptions(captioner="pocket + endpoint+pocket+none"), Desk()) == ("pocket", "endpoint")
    folder = tmp_path / "my+model"
    folder.mkdir()
    assert resolved(CaptionOptions(captioner=str(folder)), Desk()) == (str(folder),)


def test_a_folder_is_a_captioner(blip_folder: Path) -> None:
    with open_captioner(str(blip_folder), PLAIN, Desk()) as captioner:
        assert captioner.name == blip_folder.name
        said = captioner.say(PICTURE)
        assert said == captioner.say(PICTURE)


@pytest.mark.parametrize("choice", ["", "blip-huge", "/no/such/folder", "Salesforce/blip-image-captioning-base"])
def test_an_unknown_choice_names_the_known_ones(choice: str) -> None:
    with pytest.raises(CaptionError, match="There is no captioner") as caught:
        open_captioner(choice, PLAIN, Desk())
    assert all(name in caught.value.hint for name in ("auto", "none", "pocket"))


def test_listing_the_captioners_loads_none() -> None:
    code = "import sys, distill.captions.backends; print('torch' in sys.modules, 'transformers' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


@pytest.mark.slow
def test_pocket_tags_a_portrait() -> None:
    import random

    from distill.pocket import world
    from distill.pocket.render import render

    rng = random.Random(977_123)
    right = said = true = 0
    with open_captioner("pocket", PLAIN, Desk()) as captioner:
        for _ in range(8):
            attributes = world.sample(rng)
            tags = from_caption(captioner.say(render(attributes, rng)))
            assert tags[0] == attributes.person
            right += len(set(tags) & set(world.tags(attributes)))
            said, true = said + len(tags), true + len(world.tags(attributes))
    assert right / said > 0.85
    assert right / true > 0.85
