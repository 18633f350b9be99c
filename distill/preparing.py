"""From a picture and its plan to its training pictures: opened, judged, cut, enlarged, masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from distill.errors import PictureError
from distill.events import Prepared
from distill.image import pictures, quality, views
from distill.image.cuts import Cut, cuts_of, native
from distill.image.loading import load
from distill.image.upscaling import Enlarge
from distill.options import PictureOptions
from distill.plan import Plan, Shot


def prepare(
    source: Path | bytes | Image.Image,
    options: PictureOptions,
    native_px: int,
    plan: Plan | None = None,
    enlarge: Enlarge | None = None,
) -> Prepared:
    """Open, orient, judge and crop the picture; without a plan the whole of it only, unmasked. Raises PictureError.

    `enlarge` is for what has too few pixels; only who holds the host's turn may give it.
    """
    picture = load(source)
    resolution_px = options.resolution or native_px
    judged = quality.report(picture.image, resolution_px, options.crop)
    if plan is None:
        whole = cuts_of(picture.image, Plan(views=()), options, resolution_px, enlarge)
        return Prepared(picture, whole[0].image, (*picture.notes, *judged), whole)
    plan, found = _with_views(plan, picture.image, options)
    cuts = cuts_of(picture.image, plan, options, resolution_px, enlarge)
    of_views = _judged_views(cuts, picture.image, options, resolution_px, judged)
    image = cuts[0].image
    picture = replace(picture, alpha=picture.alpha or plan.alpha)
    cuts, said = pictures.training_pictures(cuts, picture, plan, options)
    return Prepared(picture, image, (*picture.notes, *judged, *found, *of_views, *said), cuts)


def prepare_all(
    source: Path | bytes | Image.Image,
    options: PictureOptions,
    native_px: int,
    plan: Plan,
    enlarge: Enlarge | None = None,
) -> tuple[Prepared, tuple[Prepared, ...]]:
    """The picture with the cuts of all of them, then the further ones by themselves. Raises PictureError."""
    first = prepare(source, options, native_px, plan, enlarge)
    more = tuple(_further(i, shot, options, native_px, enlarge) for i, shot in enumerate(plan.more, start=2))
    cuts = (replace(cut, shot=i) for i, prepared in enumerate(more, start=1) for cut in prepared.cuts)
    notes = [f"Picture {i}: {note}" for i, prepared in enumerate(more, start=2) for note in prepared.notes]
    if enlarge is not None:
        notes.append(f"What has too few pixels is enlarged by {Path(options.upscaler).name} first.")
    return replace(first, cuts=(*first.cuts, *cuts), notes=(*first.notes, *notes)), more


def _further(number: int, shot: Shot, options: PictureOptions, native_px: int, enlarge: Enlarge | None) -> Prepared:
    try:
        return prepare(shot.source, options, native_px, shot.plan, enlarge)
    except PictureError as error:
        raise PictureError(f"Picture {number}: {error.message}", error.hint) from error


def _with_views(plan: Plan, image: Image.Image, options: PictureOptions) -> tuple[Plan, tuple[str, ...]]:
    """The plan with its views checked, or with those that the options propose; and notes on them."""
    if plan.views is not None:
        return replace(plan, views=views.checked(plan.views, image)), ()
    proposed, notes = views.proposed(image, options)
    return replace(plan, views=proposed), notes


def _judged_views(
    cuts: Sequence[Cut], image: Image.Image, options: PictureOptions, resolution_px: int, said: Sequence[str]
) -> tuple[str, ...]:
    """What is worth saying of the views' own pixels, and was not said of the picture."""
    return tuple(
        f"View {cut.name}: {note}"
        for cut in cuts
        if cut.name
        for note in quality.report_view(native(image, cut.box), resolution_px, options.crop, said)
    )
