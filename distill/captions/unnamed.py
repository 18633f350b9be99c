"""Which things no caption names: what pictures show with a LoRA that the same words don't bring without it.

A caption that is left out of a prompt takes its thing away, if it was trained on. What no caption named is learned into
the trigger and all the other captions, and comes with them for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.captions.tags import group_of, tidy
from distill.captions.words import IDENTITY_GROUPS, MAN_WORDS, PERSON_WORDS, WOMAN_WORDS

FORGOTTEN: dict[str, tuple[str, ...]] = {
    "text": ("caption", "subtitle", "speech bubble", "username", "artist name", "date", "timestamp"),
    "watermark": ("copyright",),
    "signature": ("artist name",),
    "logo": ("brand",),
    "border": ("frame", "letterboxed", "pillarboxed", "polaroid"),
    "window": (),
    "tree": ("trees", "forest", "park", "garden"),
    "plain background": ("background", "backdrop", "wall"),
    "hat": ("cap", "beanie", "beret", "helmet", "crown", "headband"),
    "glasses": ("eyeglasses", "sunglasses", "goggles", "eyewear"),
    "earrings": ("earring", "jewelry", "jewellery"),
    "necklace": ("choker", "pendant", "jewelry", "jewellery"),
    "jewelry": ("earrings", "earring", "necklace", "bracelet", "ring", "jewellery"),
    "holding something": ("holding", "carrying"),
    "looking to the side": ("looking", "facing"),
}
"""What people forget to name, each with further words of captions that name it already."""

_PERSONS = WOMAN_WORDS | MAN_WORDS | PERSON_WORDS | {"solo", "adult"}


Tags = tuple[str, ...]
"""Of one picture."""


@dataclass(frozen=True)
class Pair:
    """What pictures of one prompt show."""

    with_lora: tuple[Tags, ...]
    without: tuple[Tags, ...]  # by the same words and seeds, the LoRA off

    def brings(self, tag: str) -> bool:
        """Whether most pictures show it with the LoRA, and fewer without it."""
        return _share(tag, self.with_lora) > max(0.5, _share(tag, self.without))


@dataclass(frozen=True)
class Shown:
    """What pictures show, as tags."""

    picture: Tags  # the one that was trained on
    pairs: tuple[Pair, ...]  # one for each prompt


def unnamed(captions: Sequence[str], shown: Shown) -> tuple[str, ...]:
    """What the picture shows, the LoRA brings by any of the prompts, and no caption names."""
    found = [tag for tag in tidy(shown.picture) if _is_brought(tag, shown) and is_proposed(tag, captions)]
    return tuple(tag for tag in found if not any(_words(tag) < _words(other) for other in found))


def unheard(captions: Sequence[str], shown: Shown) -> tuple[str, ...]:
    """The same, but nothing of it was said of the picture itself: to be asked about once more."""
    every = tidy(tag for pair in shown.pairs for tags in pair.with_lora for tag in tags)
    new = (tag for tag in every if not any(_doubled(tag, other) for other in tidy(shown.picture)))
    return tuple(tag for tag in new if _is_brought(tag, shown) and is_proposed(tag, captions))


def forgotten(captions: Sequence[str]) -> tuple[str, ...]:
    """Of `FORGOTTEN` what no caption names."""
    said = {word for caption in tidy(captions) for word in (*caption.split(), caption)}
    return tuple(tag for tag, named in FORGOTTEN.items() if is_proposed(tag, captions) and not said & set(named))


def is_proposed(tag: str, captions: Sequence[str]) -> bool:
    """Whether a tag may be a caption that is missing: not the class, not named, and no identity.

    Identity is meant to be in the LoRA, except for a kind of it that captions name.
    """
    captions, group = tidy(captions), group_of(tag)
    if _words(tag) & _PERSONS or any(_names(caption, tag) for caption in captions):
        return False
    return group not in IDENTITY_GROUPS or any(group_of(caption) == group for caption in captions)


def _is_brought(tag: str, shown: Shown) -> bool:
    return any(pair.brings(tag) for pair in shown.pairs)


def _share(tag: str, pictures: Sequence[Sequence[str]]) -> float:
    """Of pictures that show it."""
    return sum(any(_doubled(tag, other) for other in tidy(tags)) for tags in pictures) / max(1, len(pictures))


def _names(caption: str, tag: str) -> bool:
    """Whether the caption takes the thing along when it is left out: "knitted sweater" goes with "blue sweater"."""
    return _doubled(caption, tag) or caption.split()[-1:] == tag.split()[-1:]


def _doubled(one: str, other: str) -> bool:
    """Whether one says the other: "hat" and "red hat"."""
    return _words(one) <= _words(other) or _words(other) <= _words(one)


def _words(tag: str) -> set[str]:
    return set(tag.replace("-", " ").split())
