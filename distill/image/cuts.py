"""The training pictures that one picture gives: itself, and views cut from it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from distill.image import crops
from distill.options import PictureOptions
from distill.plan import WHOLE, Box, Plan, View


@dataclass(frozen=True)
class Cut:
    """One training picture, cropped and scaled."""

    name: str  # of the view; "" for the whole picture
    image: Image.Image
    repeats: int = 1
    words: tuple[str, ...] = ()  # what its captions say of the cut, after those of the picture
    tags: tuple[str, ...] | None = None  # its own captions in place of the picture's
    mask: Image.Image | None = None  # L, of the same size: what the loss counts there, 255 in full
    shot: int = 0  # of which of the pictures
    box: Box = WHOLE  # of the picture that it was cut from, before it was brought into the training shape
    ground: tuple[str, ...] = ()  # said in its captions in place of what they say of the picture's own background


def cuts_of(image: Image.Image, plan: Plan, options: PictureOptions, resolution_px: int) -> tuple[Cut, ...]:
    """The whole picture first, then its views."""
    views = plan.views or ()
    repeats = plan.repeats or max(1, sum(view.repeats for view in views))
    whole = Cut("", crops.fit(image, resolution_px, options.crop), repeats)
    return (whole, *(_cut(image, view, options, resolution_px) for view in views))


def _cut(image: Image.Image, view: View, options: PictureOptions, resolution_px: int) -> Cut:
    left, upper, right, lower = view.box
    box = (left * image.width, upper * image.height, right * image.width, lower * image.height)
    part = image.crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]
    fitted = crops.fit(part, resolution_px, options.crop)
    return Cut(view.name, fitted, view.repeats, view.words, view.tags, box=view.box)
