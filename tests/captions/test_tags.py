"""Tags in, tags out."""

from __future__ import annotations

import random

import pytest

from distill.captions import words
from distill.captions.tags import (
    compose,
    group_of,
    grouped,
    join,
    normalise,
    ordered,
    parse,
    shuffled,
    subject_of,
    tidy,
    without_class,
)
from distill.errors import CaptionError


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("woman, Long_Red_Hair ,  blue   eyes,,", ["woman", "long red hair", "blue eyes"]),
        ("one\ntwo\r\nthree", ["one", "two", "three"]),
        ("close-up, close up, Close_Up", ["close-up"]),
        ("^_^, o_o, long_hair, >_<", ["^_^", "o_o", "long hair", ">_<"]),
        ("(smile:1.2), ((hat)), [tree], miku \\(vocaloid\\)", ["smile", "hat", "tree", "miku (vocaloid)"]),
        ("woman <lora:fip_zor:0.6>, hat", ["woman", "hat"]),
        ("赤い髪，青い目、笑顔", ["赤い髪", "青い目", "笑顔"]),
        ("рыжие волосы, smile", ["рыжие волосы", "smile"]),
        ("", []),
        (" , ,\n", []),
        ("smile.", ["smile"]),
    ],
)
def test_parse(text: str, tags: list[str]) -> None:
    assert parse(text) == tags


def test_composed_and_decomposed_letters_are_one_tag() -> None:
    assert tidy(["caf\u00e9", "cafe\u0301"]) == ["caf\u00e9"]


def test_what_is_joined_is_parsed_again() -> None:
    tags = parse("woman, long red hair, ^_^, t-shirt, miku \\(vocaloid\\)")
    assert parse(join(tags)) == tags
    assert [normalise(tag) for tag in tags] == tags


def test_200_captions() -> None:
    tags = parse(", ".join(f"thing {i}" for i in range(200)))
    assert len(tags) == len(ordered(tags)) == 200


GROUPED = {
    "subject": ["woman", "1boy", "young man"],
    "hair": ["long red hair", "ponytail", "short black bob cut", "two-tone hair", "bangs"],
    "eyes": ["blue eyes", "brown eyes", "heterochromia"],
    "face": ["freckles", "star mark", "full beard", "red lipstick", "mole under eye"],
    "body": ["pale skin", "muscular", "dragon tattoo"],
    "expression": ["smile", "open mouth", "serious", "closed eyes"],
    "clothing": [
        "red dress",
        "black leather jacket",
        "t-shirt",
        "orange space suit",
        "zigzag pattern",
        "bare shoulders",
    ],
    "accessories": ["glasses", "red hat", "earrings", "eye patch", "striped scarf", "hair ornament", "badge"],
    "pose": ["holding red apple", "looking to the side", "sitting on bench", "arms crossed", "hand on hip"],
    "camera": ["close-up", "upper body", "from above", "depth of field", "portrait"],
    "background": ["blue background", "window", "tree", "brick wall", "night sky"],
    "style": ["oil painting", "photo", "black and white", "soft lighting"],
    "artifacts": ["watermark", "jpeg artifacts", "signature"],
    "other": ["xyzzy", "赤い髪"],
}


@pytest.mark.parametrize(("group", "tag"), [(group, tag) for group, tags in GROUPED.items() for tag in tags])
def test_group_of(group: str, tag: str) -> None:
    assert group_of(tag) == group


def test_groups_come_in_order_and_lose_nothing() -> None:
    tags = [tag for tags in GROUPED.values() for tag in tags]
    random.Random(0).shuffle(tags)
    assert list(grouped(tags)) == list(words.GROUPS)
    assert sorted(ordered(tags)) == sorted(tags)
    assert set(words.WORDS) | {"other"} == set(words.GROUPS)


def test_the_pocket_worlds_tags_all_have_a_group() -> None:
    from distill.pocket import world

    assert [tag for tag in (*world.tag_meanings(), *world.NOVEL) if group_of(tag) == "other"] == []


@pytest.mark.parametrize(
    ("tags", "class_word", "several"),
    [
        (["woman", "red hair"], "woman", False),
        (["1boy", "solo"], "man", False),
        (["red hair", "her hand on hip"], "woman", False),
        (["red hair", "tree"], "person", False),
        (["man", "holding photo of her"], "man", False),
        (["woman", "man"], "person", True),
        (["2girls", "smile"], "person", True),
        (["women", "smile"], "woman", True),
        (["group", "hat"], "person", True),
        ([], "person", False),
    ],
)
def test_subject_of(tags: list[str], class_word: str, several: bool) -> None:
    subject = subject_of(tags)
    assert (subject.class_word, subject.several) == (class_word, several)


def test_compose() -> None:
    tags = ["woman", "red hair", "hat"]
    assert compose("fip zor", "woman", tags) == ["fip zor woman", "red hair", "hat"]
    assert compose("", "woman", tags) == ["woman", "red hair", "hat"]
    assert compose("fip zor", "", ["hat"]) == ["fip zor", "hat"]
    assert compose("fip zor", "", []) == ["fip zor"]
    assert without_class(["woman", "womanly", "a man"]) == ["womanly"]
    with pytest.raises(CaptionError, match="neither a trigger nor a caption"):
        compose(" ", "", [])


def test_shuffled_keeps_the_first_and_follows_the_seed() -> None:
    tags = [str(i) for i in range(20)]
    once = shuffled(tags, 2, random.Random(7))
    assert once[:2] == ["0", "1"]
    assert sorted(once) == sorted(tags)
    assert once == shuffled(tags, 2, random.Random(7)) != shuffled(tags, 2, random.Random(8))
    assert tags == [str(i) for i in range(20)]
    assert shuffled(tags, 75, random.Random(1)) == tags
    assert shuffled([], 1, random.Random(1)) == []
