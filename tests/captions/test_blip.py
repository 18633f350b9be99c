"""A real BLIP with random weights; broken folders."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.captions.blip import CLIP_MEAN, CLIP_STD, BlipCaptioner, pixels, read_vocabulary, words_of
from distill.errors import CaptionError

PICTURE = Image.effect_noise((100, 60), 60).convert("RGB")


@pytest.fixture
def copied(blip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blip_folder, tmp_path / "copy"))


def test_the_same_picture_gets_the_same_sentence(blip_folder: Path) -> None:
    captioner = BlipCaptioner(blip_folder)
    sentence = captioner.say(PICTURE)
    assert sentence
    assert "[" not in sentence
    assert BlipCaptioner(blip_folder).say(PICTURE) == sentence


def test_a_closed_one_says_so(blip_folder: Path) -> None:
    captioner = BlipCaptioner(blip_folder)
    captioner.close()
    captioner.close()
    with pytest.raises(CaptionError, match="closed"):
        captioner.say(PICTURE)


def test_pixels_are_those_of_transformers_own_processor() -> None:
    from transformers import BlipImageProcessor

    size = {"height": 48, "width": 48}
    theirs = BlipImageProcessor(size=size, image_mean=CLIP_MEAN, image_std=CLIP_STD)(PICTURE, return_tensors="np")
    ours = pixels(PICTURE, 48, CLIP_MEAN, CLIP_STD).numpy()
    assert np.abs(ours - theirs["pixel_values"]).max() < 0.06  # torchvision's bicubic, where it is used, rounds apart


def test_word_pieces_become_text() -> None:
    words = ["[PAD]", "a", "t", "-", "shirt", "##s", ",", "."]
    assert words_of([1, 2, 3, 4, 5, 6, 1, 7, 0, 99], words) == "a t - shirts, a."


def test_a_vocabulary_in_tokenizer_json(copied: Path) -> None:
    words = read_vocabulary(copied)
    (copied / "vocab.txt").unlink()
    vocab = {word: i for i, word in reversed(list(enumerate(words)))}
    (copied / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    assert read_vocabulary(copied) == words


def test_broken_folders_are_refused_in_one_line(copied: Path) -> None:
    def said() -> str:
        with pytest.raises(CaptionError) as caught:
            BlipCaptioner(copied)
        assert "\n" not in str(caught.value)
        return caught.value.message

    weights = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "loaded" in said() or "damaged" in said()
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert "no .safetensors" in said()
    (copied / "config.json").write_text('{"model_type": "clip"}')
    assert "'clip', not BLIP" in said()
    (copied / "config.json").write_text("{ oh")
    assert "is damaged" in said()
    (copied / "config.json").unlink()
    assert "no config.json" in said()
    (copied / "vocab.txt").unlink()
    assert "neither vocab.txt nor tokenizer.json" in said()


def test_nothing_is_downloaded_or_printed(
    blip_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    BlipCaptioner(blip_folder).say(PICTURE)
    assert capfd.readouterr() == ("", "")


def test_the_models_logging_is_left_as_it_was(blip_folder: Path) -> None:
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    BlipCaptioner(blip_folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
