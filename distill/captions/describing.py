"""A picture in, a description out: the chosen captioners one after the other, each closed before the next is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from distill.captions.backends import Desk, open_captioner, resolved
from distill.captions.captioner import CaptioningStopped, never
from distill.captions.portrait import Description, merge, read
from distill.options import CaptionOptions


def describe(
    image: Image.Image, options: CaptionOptions, desk: Desk, should_stop: Callable[[], bool] = never
) -> Description:
    """What the captioners say of an RGB picture; empty when none is set. Raises CaptionError, CaptioningStopped."""
    heard = []
    for choice in resolved(options, desk):
        if should_stop():
            raise CaptioningStopped
        with open_captioner(choice, options, desk) as captioner:
            said = read(captioner.say(image, should_stop), captioner.name)
            remarks = tuple(getattr(captioner, "notes", ()))  # that the picture leaves the machine, for example
        heard.append(replace(said, notes=(*said.notes, *remarks)))
    return merge(heard) if len(heard) > 1 else heard[0] if heard else Description(())
