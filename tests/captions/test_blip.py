"""A real BLIP with random weights; broken folders."""

from __future__ import annotations

import json
import shutil
import socket
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from distill.captions.captioner import CaptioningStopped
from distill.captions.vlm import asking as vlm_asking
from distill.captions.vlm.blip import CLIP_MEAN, CLIP_STD, BlipCaptioner, pixels, read_vocabulary, words_of
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


def test_weights_of_two_names_may_be_written_once(copied: Path) -> None:
    """The hub's converter to safetensors keeps the first name of tied weights."""
    said = BlipCaptioner(copied).say(PICTURE)
    weights = load_file(copied / "model.safetensors")
    bias = torch.linspace(-3, 3, weights["text_decoder.cls.predictions.bias"].numel()).roll(7)
    weights |= {f"text_decoder.cls.predictions.{name}": bias.clone() for name in ("bias", "decoder.bias")}
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    biased = BlipCaptioner(copied).say(PICTURE)
    assert biased != said
    del weights["text_decoder.cls.predictions.decoder.bias"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    assert BlipCaptioner(copied).say(PICTURE) == biased


def test_missing_weights_are_not_made_up(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    del weights["vision_model.post_layernorm.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(CaptionError, match=r"1 are missing, for example vision_model\.post_layernorm\.weight"):
        BlipCaptioner(copied)


@pytest.mark.parametrize("size", [(8, 8), (4000, 300)])
def test_pictures_of_any_shape_and_mode(blip_folder: Path, size: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 60).convert("RGBA")
    assert BlipCaptioner(blip_folder).say(picture)


def test_stopping_in_the_midst(blip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_asking, "ASK_EVERY_S", 0)
    captioner, asked = BlipCaptioner(blip_folder), iter([False, False, False, True])
    with pytest.raises(CaptioningStopped):
        captioner.say(PICTURE, lambda: next(asked))
    assert next(asked, "all asked") == "all asked"
    assert captioner.say(PICTURE)


def test_closing_gives_the_memory_back(blip_folder: Path) -> None:
    captioner = BlipCaptioner(blip_folder)
    captioner.say(PICTURE)
    model = weakref.ref(captioner._model)
    captioner.close()
    assert model() is None


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
