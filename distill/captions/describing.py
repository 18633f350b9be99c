"""Pictures in, descriptions out: the chosen captioners one after the other, each closed before the next is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    return next((said for _, said in list(describe_each([image], options, desk, should_stop))), Description(()))


def describe_each(
    images: Sequence[Image.Image], options: CaptionOptions, desk: Desk, should_stop: Callable[[], bool] = never
) -> Iterator[tuple[int, Description]]:
    """The same for several, each captioner opened once: number and description as they come, none when none is set."""
    choices = resolved(options, desk)
    heard: list[list[Description]] = [[] for _ in images]
    for choice in choices:
        if should_stop():
            raise CaptioningStopped
        with open_captioner(choice, options, desk) as captioner:
            for i, image in enumerate(images):
                if should_stop():
                    raise CaptioningStopped
                said = read(captioner.say(image, should_stop), captioner.name)
                remarks = tuple(getattr(captioner, "notes", ()))  # that the picture leaves the machine, for example
                heard[i].append(replace(said, notes=(*said.notes, *remarks)))
                if choice == choices[-1]:
                    yield i, merge(heard[i]) if len(heard[i]) > 1 else heard[i][0]
