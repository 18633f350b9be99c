"""What captioners answer, read into one description."""

from __future__ import annotations

import pytest

from distill.captions.portrait import ASKED, PROMPT, SEVERAL, merge, read

LABELLED = """subject: woman, 1
hair: long, Red
eyes: green, mascara
face: freckles
body: none
expression: smiling
clothing: a white shirt; blue jeans
accessories: not visible
pose: standing, arms crossed
camera: upper body
background: brick wall, plain
style: photo
artifacts: watermark, no text"""
RIGHT = {
    "woman": "subject",
    "long hair": "hair",
    "red hair": "hair",
    "green eyes": "eyes",
    "mascara": "eyes",
    "freckles": "face",
    "smiling": "expression",
    "white shirt": "clothing",
    "blue jeans": "clothing",
    "standing": "pose",
    "arms crossed": "pose",
    "upper body": "camera",
    "brick wall": "background",
    "plain background": "background",
    "photo": "style",
    "watermark": "artifacts",
}


def test_labelled_lines() -> None:
    found = read(LABELLED, "model")
    assert found.groups == RIGHT
    assert found.tags == tuple(RIGHT)
    assert (found.class_word, found.several, found.by, found.notes) == ("woman", False, ("model",), ())
    assert found.lines()[1] == "hair: long hair, red hair"


@pytest.mark.parametrize(
    "dressed",
    [
        lambda text: f"Sure! Here is the description:\n\n{text}\n\nI hope this helps.",
        lambda text: "<think>hair: blue? no</think>\n" + text,
        lambda text: "\n".join(
            f"- **{line.split(':')[0].title()}**:{line.split(':')[1]}" for line in text.splitlines()
        ),
        lambda text: "\n".join(f"{i + 1}. {line}" for i, line in enumerate(text.splitlines())),
        lambda text: text.replace(":", " ="),
        lambda text: text.replace(": ", ":\n- "),
        lambda text: (
            "```json\n{"
            + ", ".join(f'"{line.split(": ")[0]}": "{line.split(": ")[1]}"' for line in text.splitlines())
            + "}\n```"
        ),
    ],
    ids=["chatty", "thinking", "markdown", "numbered", "equals", "bullets", "json"],
)
def test_labelled_lines_as_models_really_write_them(dressed) -> None:
    found = read(dressed(LABELLED))
    assert {tag: group for tag, group in found.groups.items() if "hope" not in tag} == RIGHT


def test_a_sentence_after_a_label_is_cut() -> None:
    found = read("hair: She has long red hair with bangs and a braid\nbackground: there is a tree behind the woman")
    assert {"long red hair", "bangs", "braid"} <= {tag for tag, group in found.groups.items() if group == "hair"}


def test_a_comma_list_and_prose_find_their_groups_by_the_words() -> None:
    listed = read("1girl, solo, red_hair, green eyes, white shirt, simple background")
    assert listed.groups["red hair"] == "hair"
    assert listed.tags[0] == "1girl"
    prose = read("Here is the caption: A woman in a white space suit with an american flag behind her.")
    assert prose.groups["white space suit"] == "clothing"
    assert (prose.class_word, "caption" in " ".join(prose.tags)) == ("woman", False)


@pytest.mark.parametrize(
    ("said", "class_word", "several"),
    [
        ("subject: man\nhair: bald", "man", False),
        ("subject: two women\nhair: red hair", "woman", True),
        ("1boy, 1girl, smile", "person", True),
        ("2girls, smile, outdoors", "person", True),
        ("a person in a hat, and she smiles", "woman", False),
        ("a red car on a road", "person", False),
        ("", "person", False),
    ],
)
def test_class_and_number(said, class_word, several) -> None:
    found = read(said)
    assert (found.class_word, found.several) == (class_word, several)
    assert (SEVERAL in found.notes) == several


@pytest.mark.parametrize("said", ["", "none", "```", "{}", "hair: none\neyes: none", "<think>long thought without end"])
def test_nothing_said_is_nothing(said) -> None:
    assert read(said).tags == ()


def test_merging_keeps_the_first_ones_words_and_adds_odd_ones() -> None:
    vlm = read("subject: woman\nhair: short curly red hair\nclothing: white shirt", "vlm")
    tagger = read("1girl, solo, red hair, freckles, watermark, smile", "tagger")
    both = merge([vlm, tagger])
    assert both.tags == ("woman", "short curly red hair", "freckles", "smile", "white shirt", "watermark")
    assert (both.by, both.class_word, both.several, both.notes) == (("vlm", "tagger"), "woman", False, ())


def test_captioners_that_differ_on_the_class_are_told() -> None:
    both = merge([read("subject: woman\nhair: red hair", "a"), read("1boy, hat, smile", "b")])
    assert both.class_word == "woman"
    assert any("don't agree on the class (a: woman, b: man)" in note for note in both.notes)


def test_the_question_asks_for_every_group() -> None:
    assert all(f"\n{group}: " in PROMPT for group in ASKED)
    assert str(len(ASKED)) in PROMPT


def test_as_json_marks_identity() -> None:
    values = read(LABELLED, "m").as_json()
    assert values["identity"] == ["long hair", "red hair", "green eyes", "mascara", "freckles"]
    assert (values["class"], values["by"]) == ("woman", ["m"])
