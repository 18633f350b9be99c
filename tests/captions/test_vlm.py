"""Tiny real vision-language models of every kind that this transformers has, through `open_folder(...).say(...)`."""

from __future__ import annotations

import gc
import socket
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from distill.captions.captioner import CaptioningStopped
from distill.captions.portrait import read
from distill.captions.vlm import asking as vlm_asking
from distill.captions.vlm import captioner as vlm
from distill.captions.vlm.captioner import loop_length, open_folder, without_loop
from distill.errors import CaptionError
from tests.models import tiny_vlms
from tests.models.tiny_vlm_kinds import KINDS

Folders = Callable[..., Path]
NAMES = sorted(KINDS)
QUICK = "llava"  # the smallest, and in two of the three package sets

every_kind = pytest.mark.parametrize("name", NAMES)
quick_one_first = pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != QUICK)]
)
needs_llava = pytest.mark.skipif(not tiny_vlms.has(QUICK), reason="this transformers has no LLaVA")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models never come to an end."""
    monkeypatch.setattr(vlm, "MAX_NEW_TOKENS", 12)


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (64, 64), colour)


@quick_one_first
def test_the_answer_is_about_the_picture_and_nothing_else(folders: Folders, name: str) -> None:
    folder = folders(name, tiny_vlms.learn_colours)
    with open_folder(folder, name="taught") as captioner:
        assert {colour: captioner.say(plain(colour)) for colour in tiny_vlms.LESSONS} == tiny_vlms.LESSONS
        assert read(captioner.say(plain("blue")), captioner.name).class_word == "man"


@every_kind
@pytest.mark.slow
def test_pictures_of_any_shape_get_the_same_answer_twice(folders: Folders, short: None, name: str) -> None:
    pictures = [Image.effect_noise(size, 60) for size in ((64, 80), (8, 8), (4000, 300), (512, 640))]
    pictures[0] = pictures[0].convert("RGBA")
    special = KINDS[name].special
    with open_folder(folders(name)) as captioner:
        for picture in pictures:
            random = torch.get_rng_state()
            said = captioner.say(picture)
            assert said == captioner.say(picture)
            assert not any(token in said for token in special)
            assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.slow
@needs_llava
def test_weights_in_several_files_and_in_half_precision(folders: Folders, short: None) -> None:
    whole, split = folders(QUICK), folders(QUICK, None, 3)
    assert len(list(split.glob("model-*.safetensors"))) >= 3
    with open_folder(split) as captioner, open_folder(whole) as other:
        assert captioner.say(plain("red")) == other.say(plain("red"))
        assert captioner._model.dtype == torch.float32  # config.json says bfloat16, which is slow on a CPU


@needs_llava
def test_stopping_in_the_midst(folders: Folders, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_asking, "ASK_EVERY_S", 0)
    asked = 0

    def after_some_layers() -> bool:
        nonlocal asked
        asked += 1
        return asked == 5

    with open_folder(folders(QUICK)) as captioner:
        said = captioner.say(plain("red"))
        with pytest.raises(CaptioningStopped):
            captioner.say(plain("red"), after_some_layers)
        assert asked == 5
        assert captioner.say(plain("red")) == said
        assert not any(module._forward_pre_hooks for module in captioner._model.modules())


@needs_llava
def test_closing_gives_the_memory_back(folders: Folders, short: None) -> None:
    captioner = open_folder(folders(QUICK))
    captioner.say(plain("red"))
    model = weakref.ref(captioner._model)
    captioner.close()
    captioner.close()
    assert model() is None
    with pytest.raises(CaptionError, match="closed"):
        captioner.say(plain("red"))


@pytest.mark.slow
@needs_llava
def test_out_of_memory_is_told_and_holds_nothing(folders: Folders, short: None) -> None:
    captioner = open_folder(folders(QUICK))

    def ask() -> bool:
        torch.empty(2**60, dtype=torch.uint8)  # really more than there is
        return False

    with pytest.raises(CaptionError, match="Out of memory") as caught:
        captioner.say(plain("red"), ask)
    model = weakref.ref(captioner._model)
    captioner.close()
    assert caught.value.__context__ is None
    gc.collect()
    assert model() is None


@needs_llava
def test_nothing_is_downloaded_printed_or_changed(
    folders: Folders, short: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    def state() -> tuple[object, ...]:
        random = torch.get_rng_state().tolist()
        return (
            random,
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            logging.get_verbosity(),
        )

    folder = folders(QUICK)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    capfd.readouterr()
    before = state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_folder(folder) as captioner:
            captioner.say(plain("red"))
    assert [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)] == []
    assert state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@needs_llava
def test_a_model_that_goes_round_in_circles_is_ended(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder(folders(QUICK, tiny_vlms.forget_all_but_the_last_word)) as captioner:
        said = captioner.say(plain("red"))
        monkeypatch.setattr(vlm, "loop_length", lambda tokens: 0)
        endless = captioner.say(plain("red"))
    assert endless.startswith(said)
    assert 0 < len(said) < len(endless) / 2


def test_a_loop_is_what_comes_three_times_and_sixteen_tokens_long() -> None:
    line = [5, 6, 7, 8, 9]
    assert loop_length([1, 2, *line * 2]) == 0
    assert loop_length([1, 2, *line * 3]) == 0
    assert loop_length([1, 2, *line * 4]) == 15
    assert without_loop([1, 2, *line * 4]) == [1, 2, *line]
    assert loop_length([3] * 15) == 0
    assert without_loop([1, *[3] * 16]) == [1, 3]
    assert loop_length(list(range(400))) == 0
    assert loop_length([]) == 0
