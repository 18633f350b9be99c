"""Training captions are what the tokenizer would make of the text."""

import random

import pytest

pytest.importorskip("transformers")

from distill.pocket import world
from distill.pocket.make import captions
from distill.pocket.make.networks import load_tokenizer


def test_ids_are_the_tokenizers_own():
    tags = world.tags(world.sample(random.Random(0)))
    meanings = world.tag_meanings()
    caption = captions.build_caption([(captions.tag_ids(tag), meanings[tag]) for tag in tags])
    assert caption.ids == load_tokenizer()(", ".join(tags))["input_ids"]
    assert caption.whole == world.from_tags(tags)


def test_padding_is_end_of_text():
    tokenizer = load_tokenizer()
    padded = tokenizer(["woman"], padding="max_length", max_length=77)["input_ids"]
    assert captions.pad([captions.build_caption([(captions.tag_ids("woman"), {})])], 77).tolist() == padded


def test_drawn_captions_fit_and_say_what_they_name():
    rng = random.Random(1)
    for _ in range(200):
        tags = world.tags(world.sample(rng))
        caption = captions.draw_caption(rng, tags)
        assert len(caption.ids) <= captions.MAX_TOKENS
        assert caption.whole.items() <= world.from_tags(tags).items()
        assert len(caption.tag_ends) == len(caption.meanings)


def test_words_survive_the_tokenizer():
    tokenizer = load_tokenizer()
    assert tokenizer.decode(tokenizer("holding red apple")["input_ids"][1:-1]) == "holding red apple"
    assert tokenizer("woman")["input_ids"] == [49406, 2308, 49407]
