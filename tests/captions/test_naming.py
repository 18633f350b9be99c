"""Names that every file system and every prompt takes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from distill.captions.naming import (
    checked_name,
    name_of,
    rare_trigger,
    rare_words,
    repaired_name,
)
from distill.captions.words import NAME_STOP_LIST
from distill.errors import CaptionError


def test_rare_words_are_single_tokens(clip_vocabulary: dict[str, int], clip_tokenizer: Any) -> None:
    words = rare_words(clip_vocabulary)
    assert len(words) > 100
    assert not set(words) & NAME_STOP_LIST
    for word in words:
        assert clip_tokenizer(word, add_special_tokens=False).input_ids == [clip_vocabulary[f"{word}</w>"]]


def test_a_trigger_follows_the_seed_and_makes_a_name(clip_vocabulary: dict[str, int]) -> None:
    first = rare_trigger(clip_vocabulary, random.Random(1))
    assert first == rare_trigger(clip_vocabulary, random.Random(1))
    assert first != rare_trigger(clip_vocabulary, random.Random(2))
    assert len(set(first.split())) == 2
    assert checked_name(name_of(first)) == first.replace(" ", "_")


def test_no_rare_words() -> None:
    few = {"fip</w>": 41_000, "zor</w>": 42_000, "cat</w>": 600}
    assert rare_words(few) == ["fip", "zor"]
    assert set(rare_trigger(few, random.Random(0)).split()) == {"fip", "zor"}
    with pytest.raises(CaptionError, match="no rare words"):
        rare_trigger({}, random.Random(0))


@pytest.mark.parametrize("name", ["fip_zor", "Ann 2", "赤い髪", "ann.v2", "x", "a" * 100, "anna-maria (1)"])
def test_good_names(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("../../etc/passwd", "slash"),
        ("a\\b", "slash"),
        ("..", "dot"),
        (".hidden", "dot"),
        ("name.", "dot"),
        ("name ", "space"),
        ("CON", "reserved"),
        ("com1.txt", "reserved"),
        ("Nul", "reserved"),
        ("a:b", "':'"),
        ("a,b", "','"),
        ("<lora>", "'<'"),
        ('say "hi"', "'\"'"),
        ("what?", r"'\?'"),
        ("a*b", r"'\*'"),
        ("a|b", r"'\|'"),
        ("line\nbreak", r"n'"),
        ("nul\0byte", "x00"),
        ("a" * 101, "100 bytes"),
        ("髪" * 40, "100 bytes"),
        ("in\u200bvisible", "invisible"),
        ("\ud800", "invisible"),
    ],
)
def test_bad_names_are_refused_with_a_repaired_one(name: str, said: str) -> None:
    with pytest.raises(CaptionError, match=said) as caught:
        checked_name(name)
    assert "\n" not in str(caught.value)
    repaired = repaired_name(name)
    assert checked_name(repaired) == repaired
    assert repr(repaired) in caught.value.hint


def test_a_trigger_with_odd_signs_gives_a_good_name() -> None:
    assert name_of("fip zor") == "fip_zor"
    assert checked_name(name_of("../CON: <x>")) == name_of("../CON: <x>")
    assert name_of("con") == "con_lora"
