"""Token ids of captions as training sees them: pruned, shuffled, with words that mean nothing put in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

import torch

from distill.pocket.make.networks import load_tokenizer
from distill.pocket.world import VALUES, tag_meanings

COMMA = 267
START, END = 49406, 49407
MAX_TOKENS = 77
ASKED = tuple(name for name in VALUES if name != "novel")
UNNAMED = 0  # class 0 of every attribute: the caption doesn't say


@dataclass(frozen=True)
class Caption:
    """One caption: token ids with start and end, where each tag ends, and what each tag and the whole names."""

    ids: list[int]
    tag_ends: list[int]
    meanings: list[dict[str, str]]

    @property
    def whole(self) -> dict[str, str]:
        """All that the caption names."""
        return {name: value for meaning in self.meanings for name, value in meaning.items()}


@cache
def tag_ids(tag: str) -> tuple[int, ...]:
    """The tag's token ids, without start and end."""
    return tuple(load_tokenizer()(tag)["input_ids"][1:-1])


def build_caption(parts: list[tuple[tuple[int, ...], dict[str, str]]]) -> Caption:
    """Join tags, given as ids and meaning, with commas; what exceeds 77 tokens falls off whole."""
    ids, ends, meanings = [START], [], []
    for tag, meaning in parts:
        if len(ids) + len(tag) + 2 > MAX_TOKENS:
            break
        ids += [*([COMMA] if len(ids) > 1 else []), *tag]
        ends.append(len(ids) - 1)
        meanings.append(meaning)
    return Caption([*ids, END], ends, meanings)


def draw_caption(rng: random.Random, tags: list[str]) -> Caption:
    """Tags (class first) as a training caption: some left out, most often shuffled, sometimes with idle words."""
    meanings = tag_meanings()
    first, rest = tags[:1], tags[1:]
    keep = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 1.0)
    rest = [tag for tag in rest if rng.random() < keep]
    if rng.random() < 0.7:
        rng.shuffle(rest)
    if rng.random() > keep:
        first = []
    ordered = first + rest
    if rng.random() < 0.15:
        rng.shuffle(ordered)
    parts = [(tag_ids(tag), meanings[tag]) for tag in ordered]
    if rng.random() < 0.3:
        parts = _with_idle_words(rng, parts)
    return build_caption(parts)


def _with_idle_words(
    rng: random.Random, parts: list[tuple[tuple[int, ...], dict[str, str]]]
) -> list[tuple[tuple[int, ...], dict[str, str]]]:
    def idle(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1000, START) for _ in range(count))

    parts = list(parts)
    if parts and rng.random() < 0.6:  # a name before the class, as in "xkj vqz woman"
        parts[0] = (idle(rng.randint(1, 3)) + parts[0][0], parts[0][1])
    else:
        parts.insert(rng.randint(0, len(parts)), (idle(rng.randint(1, 4)), {}))
    return parts


def pad(captions: list[Caption], length: int = 0) -> torch.Tensor:
    """Token ids (B, length), filled up with <|endoftext|>; `length` 0 is the longest of them."""
    longest = length or max(len(caption.ids) for caption in captions)
    return torch.tensor([caption.ids + [END] * (longest - len(caption.ids)) for caption in captions])


def answers(meaning: dict[str, str]) -> list[int]:
    """Class per asked attribute: 0 when unnamed, else 1 + the value's index."""
    return [1 + VALUES[name].index(meaning[name]) if name in meaning else UNNAMED for name in ASKED]
