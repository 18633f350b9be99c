"""Counted with the real CLIP vocabulary."""

from __future__ import annotations

from typing import Any

import pytest

from distill.captions.tokens import count_tokens, first_cut_off, is_latin, notes


def test_commas_count_and_marks_do_not(clip_tokenizer: Any) -> None:
    assert count_tokens([], clip_tokenizer) == 0
    assert count_tokens(["woman"], clip_tokenizer) == 1
    assert count_tokens(["woman", "red hair"], clip_tokenizer) == 4


def test_a_short_caption_needs_no_note(clip_tokenizer: Any) -> None:
    assert first_cut_off(["woman", "red hair"], clip_tokenizer) is None
    assert notes(["woman", "red hair"], clip_tokenizer) == ()
    assert notes([], clip_tokenizer) == ()


@pytest.mark.filterwarnings("ignore:Token indices")
def test_what_is_cut_off_is_named(clip_tokenizer: Any) -> None:
    tags = ["red hair"] * 40  # 2 tokens and a comma each: the 25th ends at 74, the 26th at 77
    assert first_cut_off(tags, clip_tokenizer) == 25
    assert first_cut_off(tags[:25], clip_tokenizer) is None
    many = [f"thing {i}" for i in range(200)]
    (note,) = notes(many, clip_tokenizer)
    cut = first_cut_off(many, clip_tokenizer)
    assert cut is not None
    assert count_tokens(many[:cut], clip_tokenizer) <= 75 < count_tokens(many[: cut + 1], clip_tokenizer)
    assert f'from "thing {cut}" on, {200 - cut} of 200 tags are ignored' in note


def test_one_tag_that_is_too_long_is_cut_itself(clip_tokenizer: Any) -> None:
    long = " ".join(["word"] * 300)
    assert first_cut_off([long], clip_tokenizer) == 0
    assert len(notes([long], clip_tokenizer)[0]) < 200


def test_non_latin_captions_work_and_are_warned_about(clip_tokenizer: Any) -> None:
    assert count_tokens(["赤い髪", "рыжие волосы"], clip_tokenizer) > 4
    (note,) = notes(["woman", "赤い髪", "рыжие волосы"], clip_tokenizer)
    assert note.startswith('"赤い髪" and 1 more is not in Latin letters')


@pytest.mark.parametrize(("text", "latin"), [("café", True), ("^_^ 3d", True), ("赤", False), ("hat шляпа", False)])
def test_is_latin(text: str, latin: bool) -> None:
    assert is_latin(text) == latin
