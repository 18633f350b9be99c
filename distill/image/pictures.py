"""From the cuts of one picture to its training pictures: masked, on their ground, with altered copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from distill.image import augment, masks
from distill.image.cuts import Cut
from distill.image.loading import Picture
from distill.options import PictureOptions
from distill.plan import Plan


def training_pictures(
    cuts: Sequence[Cut], picture: Picture, plan: Plan, options: PictureOptions
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """What the options make of the cuts, the whole picture first, and notes. Raises PictureError, OptionError."""
    names = augment.names_of(options.captioned_aug)
    mask, notes = masks.subject_mask(picture, plan.mask, options)
    whole = cuts[0]
    ground = None if options.background == "keep" else masks.GROUNDS[options.background]
    close: tuple[Cut, ...] = ()
    if augment.CLOSE_UP in names:
        close, said = _close_up(whole, picture.image, mask, options)
        notes = (*notes, *said)
    done, said = masks.masked((*cuts, *close), mask, picture, options)
    copied, why = augment.copies(done[0], names, ground)
    if not (close or copied):
        return done, (*notes, *said)
    others = (*done[1:], *copied)
    share = done[0].repeats if plan.repeats else max(done[0].repeats, sum(cut.repeats for cut in others))
    return (replace(done[0], repeats=share), *others), (*notes, *said, *why)


def _close_up(
    whole: Cut, image: Image.Image, mask: Image.Image | None, options: PictureOptions
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """From the picture itself, which may have more pixels than it is trained at."""
    box = augment.close_up_box(mask, image.size, whole.image.size)
    left, upper, right, lower = (share * edge for share, edge in zip(box, image.size * 2))
    width, height = round(right - left), round(lower - upper)
    if min(width, height) < options.view_min_px:
        return (), (
            f"Captioned augmentation: close-up is left out, as it has {width} x {height} px, and the smallest view is"
            f" {options.view_min_px} px.",
        )
    shown = image.resize(whole.image.size, Image.Resampling.LANCZOS, box=(left, upper, right, lower))
    return (replace(augment.copy_of(whole, augment.CLOSE_UP, shown, None), box=box),), ()
