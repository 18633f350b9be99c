"""The subject's mask: where it comes from, and how it goes along with every cut of the picture.

Where the loss does not count, nothing of the picture is learned (kohya's masked loss); nothing is forbidden there
either, so that the checkpoint goes on as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageChops, ImageFilter

from distill.errors import PictureError
from distill.image import remover
from distill.image.crops import crop_box
from distill.image.cuts import Cut
from distill.image.loading import NEUTRAL_GREY, Picture
from distill.options import PictureOptions
from distill.plan import Box

SUBJECT = 128  # a picture without any pixel of at least this level shows no subject
EVERYTHING = 250
GROUNDS = {"white": (255, 255, 255), "grey": NEUTRAL_GREY, "black": (0, 0, 0)}

_WAYS = "Draw a mask, take a picture with a transparent background, or set the subject mask to remover."


def subject_mask(
    picture: Picture, drawn: Image.Image | None, options: PictureOptions
) -> tuple[Image.Image | None, tuple[str, ...]]:
    """The soft mask (L, of the picture's size, 255 is the subject), or None where all counts alike; and notes on it.

    Raises PictureError when the chosen kind is not there, or shows no subject.
    """
    found, notes = _found(picture, drawn, options.mask)
    if found is None:
        return None, ()
    mask = found if found.mode == "L" else found.convert("L")
    if mask.size != picture.image.size:
        mask = mask.resize(picture.image.size, Image.Resampling.BILINEAR)
    lowest, highest = mask.getextrema()
    if highest < SUBJECT:  # type: ignore[operator]
        raise PictureError("The subject mask is empty: nothing in it is the subject.", _WAYS)
    if lowest >= EVERYTHING:  # type: ignore[operator]
        return None, (*notes, "The subject mask covers the whole picture, so it changes nothing.")
    return mask, notes


def _found(picture: Picture, drawn: Image.Image | None, kind: str) -> tuple[Image.Image | None, tuple[str, ...]]:
    if kind == "none":
        return None, ()
    if kind == "remover":
        found, name = remover.remove(picture.image)
        return found, (f"The subject mask was made by {name}.",)
    if kind == "auto":
        return drawn or picture.alpha, ()
    chosen = drawn if kind == "drawn" else picture.alpha
    if chosen is None:
        lacking = "no mask was drawn" if kind == "drawn" else "the picture has no transparent part"
        raise PictureError(f"The subject mask is set to {kind}, but {lacking}.", f"{_WAYS} auto takes what is there.")
    return chosen, ()


def masked(
    cuts: Sequence[Cut], mask: Image.Image | None, picture: Picture, options: PictureOptions
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """The cuts with their part of the mask and the ground that was chosen, and notes.

    Views that show nothing of the subject are left out. Raises PictureError.
    """
    if mask is None:
        if options.background != "keep":
            raise PictureError(f"Background is {options.background}, but no mask says what the background is.", _WAYS)
        return tuple(cuts), ()
    own_alpha = mask is picture.alpha
    parts = [part_of(mask, cut.box, cut.image.size) for cut in cuts]
    shown = [part.getextrema()[1] >= SUBJECT for part in parts]  # type: ignore[operator]
    if not shown[0]:
        raise PictureError(
            "The crop shows nothing of the masked subject.", "Set the crop to aspect, or crop the picture around it."
        )
    out = [
        f"View {cut.name} is left out: the subject mask is empty there." for cut, there in zip(cuts, shown) if not there
    ]
    kept = [_with(cut, part, options, own_alpha) for cut, part, there in zip(cuts, parts, shown) if there]
    return tuple(kept), tuple(out)


def _with(cut: Cut, part: Image.Image, options: PictureOptions, own_alpha: bool) -> Cut:
    cut = replace(cut, mask=levels(part, options.mask_dilation, options.unmasked_weight))
    if options.background == "keep":
        return cut
    ground = (f"{options.background} background", "simple background")
    return replace(cut, image=on_ground(cut.image, part, GROUNDS[options.background], own_alpha), ground=ground)


def part_of(mask: Image.Image, box: Box, size_px: tuple[int, int]) -> Image.Image:
    """The mask's part that a cut of the picture shows, as soft as it is, in the cut's training size."""
    left, upper, right, lower = box
    edges = (left * mask.width, upper * mask.height, right * mask.width, lower * mask.height)
    part = mask.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]
    shape = crop_box(part.width, part.height, *size_px)
    return part.resize(size_px, Image.Resampling.BILINEAR, box=shape)


def levels(mask: Image.Image, dilation_px: int, unmasked_weight: float) -> Image.Image | None:
    """What the loss counts, 255 in full: the widened mask above its floor; None where that is everything."""
    weights = dilated(mask, dilation_px).point(
        [round(255 * unmasked_weight + (1 - unmasked_weight) * m) for m in range(256)]
    )
    return None if weights.getextrema()[0] == 255 else weights


def dilated(mask: Image.Image, px: int) -> Image.Image:
    """The mask grown by `px` on all sides, its soft edge moved outwards as it is."""
    while px > 0:  # many small filters are as one large one, and far quicker
        step = min(px, 4)
        mask = mask.filter(ImageFilter.MaxFilter(2 * step + 1))
        px -= step
    return mask


def on_ground(
    image: Image.Image, mask: Image.Image, colour: tuple[int, int, int], own_alpha: bool = False
) -> Image.Image:
    """The subject on a plain ground; a soft edge that already holds neutral grey gets the colour in its place."""
    plain = Image.new("RGB", image.size, colour)
    if not own_alpha:
        return Image.composite(image, plain, mask)
    black = Image.new("RGB", image.size)
    subject = ImageChops.subtract(image, Image.composite(black, Image.new("RGB", image.size, NEUTRAL_GREY), mask))
    return ImageChops.add(subject, Image.composite(black, plain, mask))
