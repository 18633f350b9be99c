"""What a person is about to order: the picture looked at, the captions counted, before anything is trained."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from PIL import Image

from distill import pipeline
from distill.captions import tags as tag_text
from distill.captions import tokens
from distill.captions.naming import name_of
from distill.events import Prepared
from distill.hosts.standalone import clip_tokenizer
from distill.options import Options, PictureOptions


@dataclass(frozen=True)
class Draft:
    """A picture as it will be trained, and for which settings that was worked out."""

    prepared: Prepared
    options: PictureOptions
    native_px: int
    mark: str = field(default_factory=lambda: secrets.token_hex(4), compare=False)  # another one for another picture


@dataclass(frozen=True)
class Count:
    """The captions as they will be trained, trigger and class first."""

    tags: tuple[str, ...]
    used: int
    cut: str  # the first tag that is not read; "" when all are
    name: str  # of the LoRA
    notes: tuple[str, ...]


def look(picture: Image.Image, options: PictureOptions, native_px: int) -> Draft:
    """Open, judge and crop. Raises PictureError."""
    return Draft(pipeline.prepare(picture, options, native_px), options, native_px)


def looked_again(draft: Draft, options: PictureOptions, native_px: int) -> Draft:
    """The same picture for other settings; the same object when they are the same."""
    if (draft.options, draft.native_px) == (options, native_px):
        return draft
    fresh = look(draft.prepared.picture.image, options, native_px)
    notes = dict.fromkeys((*draft.prepared.picture.notes, *fresh.prepared.notes))
    return Draft(Prepared(draft.prepared.picture, fresh.prepared.image, tuple(notes)), options, native_px, draft.mark)


def count(captions: str, draft: Draft | None, options: Options) -> Count:
    """How the captions fit into what the model reads. Raises CaptionError."""
    clip = tokenizer()
    if draft is None:  # the trigger is drawn from the picture: without one there is none to count yet
        tags, trigger = tag_text.parse(captions), options.caption.trigger.strip()
        tags = [trigger, *tags] if trigger else tags
        notes = tokens.notes(tags, clip)
    else:
        done = pipeline.finish_captions(tag_text.parse(captions), draft.prepared.image, options, clip)
        tags, trigger, notes = list(done.tags), done.trigger, done.notes
    cut = tokens.first_cut_off(tags, clip)
    return Count(
        tuple(tags),
        tokens.count_tokens(tags, clip) if tags else 0,
        "" if cut is None else tags[cut],
        options.output.name or (name_of(trigger) if trigger else ""),
        notes,
    )


def tokenizer() -> Any:
    """CLIP's, read once."""
    with _reading:  # two threads that import transformers for the first time get in each other's way
        return _read_tokenizer()


_reading = threading.Lock()


@lru_cache(maxsize=1)
def _read_tokenizer() -> Any:
    return clip_tokenizer()
