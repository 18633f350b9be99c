"""How the pocket captioner is made: its words, its files, its score."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from distill.captions.prose import from_caption
from distill.captions.vlm.blip import BlipCaptioner, read_vocabulary
from distill.pocket import world
from distill.pocket.make import captioner
from distill.pocket.make.captioner_files import Vocabulary, untrained, write
from distill.pocket.make.captioner_score import score

VOCABULARY = Vocabulary.of_the_world()


def test_every_caption_of_the_world_can_be_written_and_read_back() -> None:
    for seed in range(50):
        tags = world.tags(world.sample(random.Random(seed)))
        row = VOCABULARY.encode(", ".join(tags))
        assert from_caption(VOCABULARY.decode(row)) == tags
        assert len(row) <= captioner.MAX_TOKENS
    assert len(set(VOCABULARY.words)) == len(VOCABULARY.words)


def test_what_is_written_is_what_blip_reads(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    write(untrained(len(VOCABULARY.words)), VOCABULARY, tmp_path)
    assert tuple(read_vocabulary(tmp_path)) == VOCABULARY.words
    portrait = captioner.portrait(random.Random(1))
    assert BlipCaptioner(tmp_path).say(portrait.image) == BlipCaptioner(tmp_path).say(portrait.image)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 6e6


def test_a_step_can_be_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "BATCH", 4)
    first, again = (captioner.batch(random.Random("0/7"), VOCABULARY) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    pixels, tokens = first
    assert tuple(pixels.shape) == (4, 3, 128, 128)
    assert tokens[:, 0].unique().tolist() == [VOCABULARY.words.index("[DEC]")]


def test_score() -> None:
    result = score([(["woman", "hat"], ["woman", "hat"]), (["man", "hat", "tree"], ["woman", "hat"])])
    assert (result.precision, result.recall) == (3 / 4, 3 / 5)
    assert (result.class_right, result.all_right, result.count) == (0.5, 0.5, 2)
