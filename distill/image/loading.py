"""Opens a picture from anywhere and makes it plain RGB, saying each repair in words."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, JpegImagePlugin, UnidentifiedImageError

from distill.errors import PictureError
from distill.image import sources

MAX_PIXELS = 64_000_000
MAX_BASELINE_JPEG_PIXELS = 1_000_000_000  # read at 1/8 size, so memory stays small; a progressive one can't be
KEPT_SHORT_EDGE_PX = 2048  # twice the largest training edge
MIN_SHORT_EDGE_PX = 32
NEUTRAL_GREY = (128, 128, 128)

# An allow-list: Pillow's other readers start programs (EPS), or read things that are no pictures (FITS, HDF5).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "TGA", "ICO", "JPEG2000", "QOI")
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """An RGB picture, upright, with what was repaired on the way and the stem of its file name ("" without one)."""

    image: Image.Image
    notes: tuple[str, ...]
    name: str
    alpha: Image.Image | None = None  # L, of the same size, where a part is transparent; `image` is on grey there


def load(source: Path | bytes | Image.Image) -> Picture:
    """Open a picture, from a file, its bytes, or a Pillow image (which is left as it is).

    At most 2048 px on the shorter edge come back. Raises PictureError.
    """
    notes: list[str] = []
    opened = source.copy() if isinstance(source, Image.Image) else _opened(sources.read(source))
    name = source.stem if isinstance(source, Path) else ""
    rgb, transparency = _decoded(opened, notes)
    image = _reduced(rgb, notes)
    if min(image.size) < MIN_SHORT_EDGE_PX:
        raise PictureError(
            f"The picture is only {image.width} x {image.height} px.",
            f"At least {MIN_SHORT_EDGE_PX} px on the shorter edge are needed; 512 px or more work well.",
        )
    alpha = transparency and transparency.resize(image.size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Picture(image, tuple(notes), name, alpha)


def _opened(data: bytes) -> Image.Image:
    """The picture with its header read and its pixels not."""
    Image.init()
    formats = [f for f in _FORMATS if f in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_decoded` has a limit of its own
        try:
            return Image.open(BytesIO(data), formats=formats)
        except Image.DecompressionBombError:
            return _opened_huge(data)
        except UnidentifiedImageError:
            raise PictureError("This file is not a picture that can be read.", sources.hint_for(data)) from None
        except _DAMAGED:
            raise _damaged() from None


def _opened_huge(data: bytes) -> Image.Image:
    """A JPEG past Pillow's own limit: it can be read at 1/8 size. Raises PictureError for any other kind."""
    try:
        # Not Image.open, whose limit could only be lifted for the whole process.
        return JpegImagePlugin.JpegImageFile(BytesIO(data))
    except _DAMAGED:
        raise PictureError(
            f"The picture has more than {2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) // 1_000_000} megapixels.", _SMALLER
        ) from None


def _decoded(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """RGB pixels, upright, alpha composited, and the alpha where there is some. Raises PictureError."""
    width, height = image.size
    is_baseline_jpeg = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    if width * height > (MAX_BASELINE_JPEG_PIXELS if is_baseline_jpeg else MAX_PIXELS):
        raise PictureError(f"The picture has {width} x {height} px, which is too large to open.", _SMALLER)
    if is_baseline_jpeg:
        _draft(image, notes)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes.append("Only the first frame of the animation (or page of the file) is used.")
    with _whole_files_only():
        try:
            if "16" in "".join(str(tile[3]) for tile in getattr(image, "tile", ())):
                notes.append("16 bits per channel were reduced to 8.")
            image.load()
        except MemoryError:
            raise PictureError(f"There is not enough memory for {width} x {height} px.", _SMALLER) from None
        except _DAMAGED:
            raise _damaged() from None
    return _rgb(_upright(image, notes), notes)


def _draft(image: Image.Image, notes: list[str]) -> None:
    """Have a large JPEG decoded at 1/2, 1/4 or 1/8, which costs neither the time nor the memory of the whole."""
    width, height = image.size
    scale = KEPT_SHORT_EDGE_PX / min(width, height)
    if scale > 0.5:
        return
    image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    if image.size != (width, height):
        notes.append(f"Read at {image.width} x {image.height} px instead of {width} x {height}.")


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image) or image
            notes.append("Turned upright, as the camera's EXIF data says.")
    except _DAMAGED:
        notes.append("The camera's EXIF data is damaged and was not used.")
    return image


def _rgb(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """Any of Pillow's modes as RGB, with its alpha."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
        if not any("16 bits" in note for note in notes):
            notes.append("More than 8 bits per channel were reduced to 8.")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    said = _SAID.get(image.mode)
    if said:
        notes.append(said)
    if has_alpha:
        return _on_grey(image.convert("RGBA"), notes)
    return _in_srgb(image, notes), None


_SAID = {
    "1": "Black and white: there is no colour to learn.",
    "L": "Grey picture: there is no colour to learn.",
    "LA": "Grey picture: there is no colour to learn.",
    "CMYK": "Converted from CMYK to RGB; colours can differ a little.",
    "P": "Converted from a palette to RGB.",
    "PA": "Converted from a palette to RGB.",
    "LAB": "Converted from Lab to RGB.",
    "HSV": "Converted from HSV to RGB.",
}


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats as 8 bits; Pillow's own conversion would cut at 255."""
    levels = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = max(float(levels.max()), 1e-9)
    full = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), top)
    if image.mode.startswith("I"):
        full = 65535.0 if image.mode != "I" or top > 255 else 255.0
        full = max(full, top)
    return Image.fromarray(np.clip(levels / full * 255, 0, 255).round().astype(np.uint8))


def _on_grey(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    alpha = image.getchannel("A")
    lowest, highest = alpha.getextrema()
    if highest == 0:
        raise PictureError("The picture is fully transparent.", "Choose one that shows something.")
    if lowest < 255:  # type: ignore[operator]
        share = float((np.asarray(alpha) < 255).mean())
        notes.append(f"The transparent part ({share:.0%}) was put on neutral grey.")
    ground = Image.new("RGB", image.size, NEUTRAL_GREY)
    ground.paste(image, mask=alpha)
    return ground, alpha if lowest < 255 else None  # type: ignore[operator]


def _in_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB, by the picture's own colour profile where it has a usable one that is not sRGB."""
    embedded = image.info.get("icc_profile")
    if embedded and image.mode in ("RGB", "CMYK"):
        try:
            profile: Any = ImageCms.ImageCmsProfile(BytesIO(embedded))
            said = ImageCms.getProfileDescription(profile).strip()
            if "srgb" not in said.lower():
                srgb: Any = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
                notes.append(f"Colours were converted from the profile {said or 'without a name'} to sRGB.")
                return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append("The embedded colour profile is damaged and was not used.")
    return image.convert("RGB")


def _reduced(image: Image.Image, notes: list[str]) -> Image.Image:
    """At most 2048 px on the shorter edge; the shorter one, so that a very wide picture is not thinned away."""
    scale = KEPT_SHORT_EDGE_PX / min(image.size)
    if scale >= 1:
        return image
    size = (round(image.width * scale), round(image.height * scale))
    notes.append(f"Reduced from {image.width} x {image.height} to {size[0]} x {size[1]} px.")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """A WebUI may have told Pillow to fill what a cut-off file lacks with grey, which would be trained on."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


_SMALLER = "Make it smaller in a picture editor: 2048 px on the shorter edge are plenty."


def _damaged() -> PictureError:
    return PictureError("The picture is damaged or cut off.", "Copy or download it again, or save it anew as PNG.")
