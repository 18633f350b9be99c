"""Proposes cuts of the picture, by a face that a detector finds, else by the proportions of the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from distill.errors import OptionError, PictureError
from distill.image import crops, detector
from distill.options import PictureOptions
from distill.plan import WHOLE, Box, View

ALL = "all"
MIN_EDGE_PX = 32
NEARLY_WHOLE = 0.85  # of what the crop keeps of both: such a view would be the picture once more
KEPT_LIMIT = 0.8  # of a view, by the crop: with less it would not show what its words say
USUAL_PX = 512  # to judge a crop by: its shape hardly depends on the resolution
BODY_WIDTH = 3.0  # heads: shoulders and arms
FACE_TO_HEAD = 1.35  # a detector's square reaches from the brows to the chin, a head from the crown


class Span(NamedTuple):
    """Where a view is in a body of 7.5 heads, counted downwards from the crown; `needs`: so far it must be visible."""

    upper: float
    lower: float
    needs: float
    words: tuple[str, ...]


SPANS: dict[str, Span] = {
    "full body": Span(-0.3, 7.8, 7.2, ("full body",)),
    "cowboy shot": Span(-0.3, 4.7, 4.0, ("cowboy shot",)),
    "upper body": Span(-0.3, 3.0, 2.2, ("upper body",)),
    "lower body": Span(3.0, 7.8, 6.5, ("lower body", "head out of frame")),
    "face": Span(-0.3, 1.25, 1.0, ("close-up", "face")),
    "bangs": Span(-0.25, 0.7, 0.6, ("close-up", "bangs")),
    "head out of frame": Span(1.1, 4.7, 2.4, ("head out of frame",)),
}
WORDS: dict[str, tuple[str, ...]] = {name: span.words for name, span in SPANS.items()} | {"detail": ("close-up",)}
"""What the captions say of each view. A detail can lie anywhere, so only a person can draw one."""


@dataclass(frozen=True)
class Body:
    """Where the body is, in pixels."""

    centre: float
    crown: float
    head: float  # height


def names_of(text: str) -> tuple[str, ...]:
    """The views that the option `views` names. Raises OptionError for an unknown one."""
    given = [" ".join(name.lower().replace("_", " ").split()) for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in SPANS and name != ALL]
    if unknown:
        raise OptionError(f"There is no view {unknown[0]!r}.", f"Choose of: {', '.join(SPANS)}; or all.")
    return tuple(SPANS) if ALL in given else tuple(dict.fromkeys(given))


def proposed(image: Image.Image, options: PictureOptions) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """The views that the options name, and notes on what they were found by and which were left out.

    A view that is nearly the whole picture comes as one with the box `WHOLE` and no repeats of its own: its words
    are the whole picture's. Raises OptionError.
    """
    names = names_of(options.views)
    if not names:
        return (), ()
    face, why = detector.find_face(image)
    body = _assumed(image) if face is None else _around(face, image)
    views, notes = [], [_how(face, why)]
    for name in names:
        box = _box(SPANS[name], body, image, options)
        problem = _problem(name, box, body, image, options)
        if problem:
            notes.append(f"View {name} is left out: {problem}.")
        elif not _is_whole(box, image, options):
            views.append(View(name=name, box=box, words=SPANS[name].words))
        elif face is not None:
            views.append(View(name=name, box=WHOLE, words=SPANS[name].words, repeats=0))
            notes.append(f"View {name} is nearly the whole picture: its words go to that one.")
        else:
            notes.append(f"View {name} is left out: it would be nearly the whole picture.")
    return tuple(views), tuple(notes)


def checked(views: Sequence[View], image: Image.Image) -> tuple[View, ...]:
    """Views that a person gave, as they are. Raises PictureError for a box that is empty or outside the picture."""
    for view in views:
        left, upper, right, lower = view.box
        if not (0 <= left < right <= 1 and 0 <= upper < lower <= 1):
            edges = ", ".join(f"{edge:g}" for edge in view.box)
            raise PictureError(
                f"View {view.name!r} has the box {edges}.", "Give left, upper, right, lower as shares from 0 to 1."
            )
        width, height = _size(view.box, image)
        if min(width, height) < MIN_EDGE_PX:
            raise PictureError(
                f"View {view.name!r} has only {width} x {height} px.", f"At least {MIN_EDGE_PX} px are needed."
            )
    return tuple(views)


def _is_whole(box: Box, image: Image.Image, options: PictureOptions) -> bool:
    """Whether the crop leaves nearly the same of the view as of the whole picture."""
    (left, upper, right, lower), other = (_kept(each, image, options) for each in (box, WHOLE))
    width, height = min(right, other[2]) - max(left, other[0]), min(lower, other[3]) - max(upper, other[1])
    both = max(0.0, width) * max(0.0, height)
    return both / (_area((left, upper, right, lower)) + _area(other) - both) >= NEARLY_WHOLE


def _kept(box: Box, image: Image.Image, options: PictureOptions) -> Box:
    """What the crop keeps of a box, in pixels."""
    x, y = box[0] * image.width, box[1] * image.height
    width, height = _size(box, image)
    left, upper, right, lower = crops.crop_box(width, height, *crops.fit_size(width, height, USUAL_PX, options.crop))
    return x + left, y + upper, x + right, y + lower


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _size(box: Box, image: Image.Image) -> tuple[int, int]:
    return round((box[2] - box[0]) * image.width), round((box[3] - box[1]) * image.height)


def _how(face: detector.Face | None, why: str) -> str:
    if face is None:
        return f"Views by proportion, as {why}: look at them before training."
    more = f"; of {face.count} faces the largest" if face.count > 1 else ""
    return f"Views by the face that {face.by} found{more}."


def _around(face: detector.Face, image: Image.Image) -> Body:
    left, _, right, lower = face.box
    head = FACE_TO_HEAD * (right - left) * image.width
    return Body((left + right) / 2 * image.width, lower * image.height - head, head)


def _assumed(image: Image.Image) -> Body:
    """By shape alone: tall pictures show a body, square and wide ones a portrait; heads are in the upper part."""
    shape = image.height / image.width
    heads, above = (7.9, 0.02) if shape >= 1.7 else (4.7, 0.04) if shape >= 1.2 else (2.4, 0.1)
    return Body(image.width / 2, above * image.height, image.height * (1 - above) / heads)


def _box(span: Span, body: Body, image: Image.Image, options: PictureOptions) -> Box:
    """In shares: as high as the span, as wide as the crop wants it, moved and cut to lie inside the picture."""
    upper = max(0.0, body.crown + span.upper * body.head)
    lower = min(float(image.height), body.crown + span.lower * body.head)
    height = max(1.0, lower - upper)
    width = height if options.crop == "square" else min(height, max(BODY_WIDTH * body.head, height / crops.MAX_ASPECT))
    width = min(width, float(image.width))
    left = min(max(0.0, body.centre - width / 2), image.width - width)
    shares = left / image.width, upper / image.height, (left + width) / image.width, lower / image.height
    return tuple(round(edge, 4) for edge in shares)  # type: ignore[return-value]


def _problem(name: str, box: Box, body: Body, image: Image.Image, options: PictureOptions) -> str:
    """Why a view can't be trained; "" when it can."""
    visible = (image.height - body.crown) / body.head
    if visible < SPANS[name].needs:
        return f"the picture ends {visible:.1f} heads below the crown, it needs {SPANS[name].needs:g}"
    width, height = _size(box, image)
    if min(width, height) < options.view_min_px:
        return f"it has {width} x {height} px, and the smallest view is {options.view_min_px} px"
    kept = crops.kept_share(width, height, *crops.fit_size(width, height, USUAL_PX, options.crop))
    if kept < KEPT_LIMIT:
        return f"the {options.crop} crop would keep {kept:.0%} of its {width} x {height} px; try the crop aspect"
    return ""
