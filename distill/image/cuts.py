"""The training pictures that one picture gives: itself, and views cut from it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from distill.image import upscaling
from distill.image.upscaling import Enlarge
from distill.options import PictureOptions
from distill.plan import WHOLE, Box, Plan, View


@dataclass(frozen=True)
class Cut:
    """One training picture, cropped and scaled."""

    name: str  # of the view; "" for the whole picture
    image: Image.Image
    repeats: int = 1
    words: tuple[str, ...] = ()  # what its captions say of the cut
    tags: tuple[str, ...] | None = None  # its own captions in place of the picture's
    mask: Image.Image | None = None  # L, of the same size: what the loss counts there, 255 in full
    shot: int = 0  # of which of the pictures
    box: Box = WHOLE  # of the picture that it was cut from, before it was brought into the training shape
    ground: tuple[str, ...] = ()  # said in its captions in place of what they say of the picture's own background


def cuts_of(
    image: Image.Image, plan: Plan, options: PictureOptions, resolution_px: int, enlarge: Enlarge | None = None
) -> tuple[Cut, ...]:
    """The whole picture first, then its views; one that is the whole picture only lends it its words."""
    words = tuple(word for view in plan.views or () if _is_whole(view) for word in view.words)
    whole = Cut("", upscaling.fit(image, resolution_px, options.crop, enlarge), _repeats(plan), words)
    return (whole, *(_cut(image, view, options, resolution_px, enlarge) for view in _cut_out(plan)))


def expected(plan: Plan, options: PictureOptions) -> int | None:
    """What all cuts of all pictures are repeated together; None where only the pictures themselves can tell."""
    if options.captioned_aug:
        return None
    plans = (plan, *(shot.plan for shot in plan.more))
    if options.views and any(each.views is None for each in plans):
        return None
    return sum(_repeats(each) + sum(view.repeats for view in _cut_out(each)) for each in plans)


def _repeats(plan: Plan) -> int:
    """Of the whole picture."""
    return plan.repeats or max(1, sum(view.repeats for view in _cut_out(plan)))


def _cut_out(plan: Plan) -> list[View]:
    return [view for view in plan.views or () if not _is_whole(view)]


def native(image: Image.Image, box: Box) -> Image.Image:
    """The picture's part in a box, as it is."""
    left, upper, right, lower = box
    edges = (left * image.width, upper * image.height, right * image.width, lower * image.height)
    return image.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]


def _is_whole(view: View) -> bool:
    return view.box == WHOLE and view.tags is None


def _cut(image: Image.Image, view: View, options: PictureOptions, resolution_px: int, enlarge: Enlarge | None) -> Cut:
    fitted = upscaling.fit(native(image, view.box), resolution_px, options.crop, enlarge)
    return Cut(view.name, fitted, view.repeats, view.words, view.tags, box=view.box)
