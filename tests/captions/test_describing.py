"""Several captioners on one picture, and what the person is told beside the tags."""

from __future__ import annotations

import pytest
from PIL import Image

from distill.captions.backends import Desk
from distill.captions.captioner import CaptioningStopped
from distill.captions.describing import describe
from distill.errors import CaptionError
from distill.host import Describer
from distill.options import CaptionOptions
from distill.pocket.render import render
from distill.pocket.world import sample

PICTURE = Image.new("RGB", (64, 64))


def saying(text: str, name: str = "webui-blip", problem: str = "") -> Describer:
    return Describer(name=name, label=name, describe=lambda image: text, problem=problem)


def desk(*own: Describer) -> Desk:
    return Desk(own=own)


def test_the_hosts_own_are_taken_when_nothing_else_is_there() -> None:
    both = desk(saying("a woman with red hair wearing a hat"), saying("1girl, red hair, freckles", "webui-deepbooru"))
    found = describe(PICTURE, CaptionOptions(), both)
    assert found.by == ("webui-blip", "webui-deepbooru")
    assert found.tags == ("woman", "red hair", "freckles", "hat")


def test_one_that_is_not_ready_is_not_taken_by_itself_and_says_why_when_named() -> None:
    there = desk(saying("a woman", problem="Its weights are not there."))
    assert describe(PICTURE, CaptionOptions(), there).tags == ()
    with pytest.raises(CaptionError, match="Its weights are not there"):
        describe(PICTURE, CaptionOptions(captioner="webui-blip"), there)


def test_nobody_says_nothing() -> None:
    assert describe(PICTURE, CaptionOptions(captioner="none"), Desk()).tags == ()


def test_stopping_comes_before_the_next_captioner() -> None:
    asked = []
    first = Describer(name="webui-blip", label="", describe=lambda image: asked.append(1) or "a woman")
    with pytest.raises(CaptioningStopped):
        describe(PICTURE, CaptionOptions(captioner="webui-blip+none"), desk(first), lambda: True)
    assert asked == []


@pytest.mark.slow
def test_pocket_and_a_tagger_are_merged() -> None:
    import random

    rng = random.Random(5)
    there = desk(saying("watermark, 1girl, solo", "webui-deepbooru"))
    found = describe(render(sample(rng), rng), CaptionOptions(captioner="pocket+webui-deepbooru"), there)
    assert found.by == ("pocket", "webui-deepbooru")
    assert found.groups["watermark"] == "artifacts"
    assert "1girl" not in found.tags
