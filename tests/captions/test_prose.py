"""What captioners really say."""

from __future__ import annotations

import pytest

from distill.captions.prose import from_caption


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a woman with red hair wearing a hat", ["woman", "red hair", "hat"]),
        ("there is a man in a suit and tie standing in a room", ["man", "suit", "tie", "standing in room"]),
        ("a close up of a woman holding a red apple", ["close up", "woman", "holding red apple"]),
        (
            "A woman in an orange space suit smiling in front of an American flag.",
            ["woman", "orange space suit", "smiling", "american flag"],
        ),
        ("a red and white striped scarf", ["red and white striped scarf"]),
        ("the man is wearing glasses and a t - shirt", ["man", "glasses", "t-shirt"]),
        ("an astronaut with a space shuttle in the background", ["astronaut", "space shuttle"]),
        ("woman, long red hair, blue eyes, close - up", ["woman", "long red hair", "blue eyes", "close-up"]),
        ("a photo of a dog", ["dog"]),
        ("", []),
        ("...", []),
    ],
)
def test_from_caption(text: str, tags: list[str]) -> None:
    assert from_caption(text) == tags
