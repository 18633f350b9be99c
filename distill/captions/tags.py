"""Captions as a list of short tags: read, tidied, grouped, ordered, put together again."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from distill.captions import words
from distill.errors import CaptionError

_SEPARATORS = re.compile(r"[,\n\r，、]+")
_WEIGHTED = re.compile(r"^[(\[{]+([^()\[\]{}]+?)(?::\s*[0-9.]+)?[)\]}]+$")
_ONE = re.compile(r"^(?:an?|one|1|single)\s+")
_NETWORK = re.compile(r"<\w+:[^<>]*>")


def parse(text: str) -> list[str]:
    """Tags of a comma list (or one per line), tidied, each once, in the order given."""
    return tidy(_SEPARATORS.split(_NETWORK.sub(",", text)))


def tidy(tags: Iterable[str]) -> list[str]:
    """Each tag normalised, the empty ones and the ones said before left out."""
    kept: dict[str, str] = {}
    for tag in map(normalise, tags):
        kept.setdefault(re.sub(r"[\s-]+", " ", tag), tag)
    return [tag for tag in kept.values() if tag]


def normalise(tag: str) -> str:
    """Lowercase, single spaces for underscores (but not in kaomoji), a prompt's `(weight:1.2)` and `\\(` taken off."""
    tag = unicodedata.normalize("NFC", tag).strip().lower()
    if tag in words.KAOMOJI:
        return tag
    weighted = _WEIGHTED.match(tag)
    tag = (weighted[1] if weighted else tag).replace("\\", "").replace("_", " ")
    return " ".join(tag.split()).strip(".")


def join(tags: Iterable[str]) -> str:
    """The tags as one caption."""
    return ", ".join(tags)


def group_of(tag: str) -> str:
    """The group that a normalised tag belongs to, one of `words.GROUPS`; `other` when no word of it is known."""
    known = _known_words()
    if tag in known:
        return known[tag]
    parts = re.findall(r"[\w'-]+", tag)
    if parts and parts[0] in words.LEADING:
        return "pose"
    for length in (3, 2, 1):
        for end in range(len(parts), length - 1, -1):
            group = known.get(" ".join(parts[end - length : end]))
            if group:
                return group
    return "other"


@lru_cache(maxsize=1)
def _known_words() -> dict[str, str]:
    """Each word or phrase of the table with its group; the first group that names it holds."""
    known: dict[str, str] = {}
    for group, listed in words.WORDS.items():
        for word in " ".join(listed.split()).split(", "):
            known.setdefault(word, group)
    return known


def grouped(tags: Iterable[str]) -> dict[str, list[str]]:
    """The tags by group, in the order of the groups; groups without a tag are left out."""
    found: dict[str, list[str]] = {group: [] for group in words.GROUPS}
    for tag in tags:
        found[group_of(tag)].append(tag)
    return {group: members for group, members in found.items() if members}


def ordered(tags: Iterable[str]) -> list[str]:
    """The tags in the order of the groups, within a group as given."""
    return [tag for members in grouped(tags).values() for tag in members]


@dataclass(frozen=True)
class Subject:
    """Who is in the picture, as far as the tags say: `woman`, `man` or `person`, and whether they say several."""

    class_word: str
    several: bool


def subject_of(tags: Sequence[str]) -> Subject:
    """The class by the subject tags, else by any word (pronouns too), else `person`."""
    subject_words = _words_in(tag for tag in tags if group_of(tag) == "subject")
    every_word = _words_in(tags)
    several = bool(set(subject_words) & words.SEVERAL_WORDS) or any(
        re.match(r"[2-9]\+?(girls|boys)", w) for w in every_word
    )
    for candidates in (subject_words, every_word):
        said_woman = any(word in words.WOMAN_WORDS for word in candidates)
        said_man = any(word in words.MAN_WORDS for word in candidates)
        if said_woman and said_man:
            return Subject("person", True)
        if said_woman or said_man:
            return Subject("woman" if said_woman else "man", several)
    return Subject("person", several)


def _words_in(tags: Iterable[str]) -> list[str]:
    return [word for tag in tags for word in re.findall(r"\w+", tag)]


def without_class(tags: Iterable[str]) -> list[str]:
    """The tags less those that only name the class ("woman", "1girl"): `compose` says it with the trigger."""
    named = words.WOMAN_WORDS | words.MAN_WORDS | words.PERSON_WORDS
    return [tag for tag in tags if _ONE.sub("", tag) not in named]


def without_identity(tags: Iterable[str]) -> list[str]:
    """The tags less those of the groups that make a person recognisable: the trigger is to hold these."""
    return [tag for tag in tags if group_of(tag) not in words.IDENTITY_GROUPS]


def without_background(tags: Iterable[str]) -> list[str]:
    """The tags less those that say where the subject is: it was put on a plain ground."""
    return [tag for tag in tags if group_of(tag) != "background"]


def compose(trigger: str, class_word: str, tags: Sequence[str]) -> list[str]:
    """The caption's tags: "trigger class" first, then the others. Raises CaptionError when there is nothing at all."""
    first = " ".join(f"{trigger} {class_word}".split())
    if not trigger.strip() and not tags:
        raise CaptionError("There is neither a trigger nor a caption.", "Give at least one of them.")
    rest = without_class(tags) if class_word else list(tags)
    return tidy([first, *rest])


def shuffled(tags: Sequence[str], keep_tokens: int, rng: random.Random) -> list[str]:
    """The tags in another order; the first `keep_tokens` stay in front."""
    rest = list(tags[keep_tokens:])
    rng.shuffle(rest)
    return [*tags[:keep_tokens], *rest]
