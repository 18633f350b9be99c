"""A cut's captions tell of the cut: another framing, and nothing that is surely outside of it."""

from __future__ import annotations

import pytest

from distill.captions.framing import is_framing, of_view, of_whole

TAGS = ["woman", "long red hair", "green eyes", "smile", "red hat", "holding black hat", "blue dress", "jeans"]
TAGS += ["black boots", "Looking at viewer", "from above", "full body", "garden"]


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (("close-up", "face"), {"jeans", "black boots", "full body"}),
        (("upper body",), {"black boots", "full body"}),
        (("full body",), {"full body"}),
        (
            ("head out of frame",),
            {"long red hair", "green eyes", "smile", "red hat", "looking at viewer", "full body"},
        ),
        (("close-up",), {"full body"}),  # of a detail, which may be a shoe
        (("my garden",), set()),
    ],
)
def test_what_a_view_does_not_show_is_not_said(words: tuple[str, ...], gone: set[str]) -> None:
    tags = [tag.lower() for tag in TAGS]
    assert of_view(TAGS, words) == [*words, *(tag for tag in tags if tag not in gone)]


def test_the_whole_picture_gets_a_word_where_it_has_none() -> None:
    assert of_whole(["woman", "from above"], ["upper body"]) == ["woman", "from above", "upper body"]
    assert of_whole(["woman", "close-up portrait"], ["upper body"]) == ["woman", "close-up portrait"]
    assert of_whole(["woman"], []) == ["woman"]


def test_angles_and_gaze_are_no_framing() -> None:
    assert not any(map(is_framing, ["from above", "looking at viewer", "profile", "portrait of a cat", "red hair"]))
    assert all(map(is_framing, ["cowboy shot", "head out of frame", "close-up portrait"]))
