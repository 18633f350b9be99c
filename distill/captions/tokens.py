"""How a caption fits into what the text encoder reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from distill.captions.tags import join

READ_TOKENS = 75
"""CLIP's 77 less the start and end marks."""


def count_tokens(tags: Sequence[str], tokenizer: Any) -> int:
    """CLIP tokens of the whole caption, commas included, without start and end."""
    return len(tokenizer(join(tags), add_special_tokens=False, truncation=False, verbose=False).input_ids)


def first_cut_off(tags: Sequence[str], tokenizer: Any, limit: int = READ_TOKENS) -> int | None:
    """Index of the first tag that is not wholly within the limit; None when all are."""
    if count_tokens(tags, tokenizer) <= limit:
        return None
    low, high = 0, len(tags) - 1  # the count rises with each tag, so halve
    while low < high:
        middle = (low + high) // 2
        if count_tokens(tags[: middle + 1], tokenizer) > limit:
            high = middle
        else:
            low = middle + 1
    return low


def notes(tags: Sequence[str], tokenizer: Any) -> tuple[str, ...]:
    """What the user should know of the caption: what is cut off, what is not in Latin letters."""
    said = []
    cut = first_cut_off(tags, tokenizer)
    if cut is not None:
        said.append(
            f"The caption has {count_tokens(tags, tokenizer)} tokens and the model reads {READ_TOKENS}: "
            f'from "{_shortened(tags[cut])}" on, {len(tags) - cut} of {len(tags)} tags are ignored.'
        )
    foreign = [tag for tag in tags if not is_latin(tag)]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        said.append(
            f'"{_shortened(foreign[0])}"{more} is not in Latin letters: most checkpoints know English words only, '
            "so they will make little of it."
        )
    return tuple(said)


def is_latin(text: str) -> bool:
    """Whether every letter is of the Latin alphabet."""
    return all("LATIN" in unicodedata.name(sign, "") for sign in text if sign.isalpha())


def _shortened(tag: str) -> str:
    return tag if len(tag) <= 40 else f"{tag[:37]}..."
