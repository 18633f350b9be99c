"""What the captions of a picture become in a cut of it: its framing is another, and what is outside is not said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from distill.captions.tags import group_of, tidy
from distill.captions.words import LEADING


def _phrases(text: str) -> re.Pattern[str]:
    words = "|".join(re.escape(" ".join(phrase.split())) for phrase in text.split(","))
    return re.compile(rf"(?:^|\s)(?:{words})$")  # a tag's last words say what it is


_FRAMING = _phrases(
    """close-up, close up, closeup, portrait, headshot, mugshot, upper body, full body, lower body, half body, bust,
    cowboy shot, medium shot, long shot, wide shot, full shot, close-up shot, out of frame, cropped shoulders,
    cropped torso, cropped legs, full length, selfie"""
)
_HEAD = _phrases(
    """hat, cap, beanie, beret, helmet, crown, tiara, headband, hairband, hairclip, hairpin, hair bow, hair ornament,
    hair ribbon, hair flower, glasses, eyeglasses, sunglasses, goggles, eyewear, monocle, eye patch, eyepatch, earring,
    earrings, headphones, headset, horn, horns, halo, head tilt, tilted head, looking at viewer, looking away,
    looking back, looking to the side, facing viewer, facing away, hand on face, hand on chin"""
)
_FEET = _phrases(
    "shoe, shoes, boot, boots, sneakers, sandals, heels, high heels, socks, barefoot, feet, toes, slippers"
)
_LEGS = _phrases(
    """pants, trousers, jeans, shorts, leggings, skirt, miniskirt, stockings, pantyhose, tights, thighhighs, legs,
    thighs, knees, hips, crossed legs, belt"""
)
_HEAD_GROUPS = ("hair", "eyes", "face", "expression")


def is_framing(tag: str) -> bool:
    """Whether a normalised tag says how much of the subject the picture shows."""
    return bool(_FRAMING.search(tag))


def of_whole(tags: Sequence[str], words: Sequence[str]) -> list[str]:
    """The picture's own tags, with the words for what it shows where they don't say it themselves."""
    tags = tidy(tags)
    return tags if any(map(is_framing, tags)) else [*tags, *words]


def of_view(tags: Sequence[str], words: Sequence[str]) -> list[str]:
    """The view's words first, then the picture's tags that don't contradict them.

    Left out is what says another framing, and what is surely not in such a cut.
    """
    said = set(tidy(words))
    return [*words, *(tag for tag in tidy(tags) if not _contradicts(tag, said))]


def _contradicts(tag: str, words: set[str]) -> bool:
    if is_framing(tag):
        return any(map(is_framing, words))
    if tag.split()[0] in LEADING - {"looking", "facing"}:
        return False  # a held hat is not on the head
    if words & {"head out of frame", "lower body"} and (group_of(tag) in _HEAD_GROUPS or _HEAD.search(tag)):
        return True
    if words & {"face", "bangs"} and _LEGS.search(tag):
        return True
    return not words.isdisjoint(("face", "bangs", "upper body", "cowboy shot")) and bool(_FEET.search(tag))
