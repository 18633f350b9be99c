"""Captions of class pictures by the captioner, kept so that a picture is looked at only once."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from distill.captions.backends import Desk, resolved
from distill.captions.describing import describe_each
from distill.captions.tags import compose, join, parse
from distill.errors import OutputError
from distill.events import Prepares
from distill.host import Models
from distill.options import CaptionOptions
from distill.output import atomic
from distill.output.sampling import decode
from distill.training.prior import ClassPicture


def described(
    models: Models,
    pictures: Sequence[ClassPicture],
    class_word: str,
    options: CaptionOptions,
    desk: Desk,
    kept_in: Path,
    should_stop: Callable[[], bool],
) -> Generator[Prepares, None, list[ClassPicture]]:
    """The pictures with the captioner's captions, the class first; without a captioner as they are.

    Raises CaptionError, CaptioningStopped; what was described by then is kept.
    """
    if not resolved(options, desk):
        return list(pictures)
    places = [kept_in / f"{_key(picture, options, desk)}.txt" for picture in pictures]
    captions = [_read(place) for place in places]
    missing = [i for i, caption in enumerate(captions) if not caption]
    done = len(pictures) - len(missing)
    images = [_image(models, pictures[i]) for i in missing]
    for i, description in describe_each(images, options, desk, should_stop):
        caption = captions[missing[i]] = join(compose("", class_word, description.tags or (class_word,)))
        with contextlib.suppress(OutputError, OSError):
            kept_in.mkdir(parents=True, exist_ok=True)
            atomic.write(places[missing[i]], caption.encode(), replace=True)
        done += 1
        yield Prepares(done, len(pictures), f"Describes class pictures: {done} of {len(pictures)}.")
    return [replace(picture, caption=caption) for picture, caption in zip(pictures, captions, strict=True)]


def _image(models: Models, picture: ClassPicture) -> Image.Image:
    return decode(models, picture.image) if isinstance(picture.image, torch.Tensor) else picture.image


def _key(picture: ClassPicture, options: CaptionOptions, desk: Desk) -> str:
    """Of what is looked at and who looks."""
    image = picture.image
    data = image.numpy().tobytes() if isinstance(image, torch.Tensor) else image.tobytes()
    who = f"{resolved(options, desk)} {options.endpoint} {options.endpoint_model}"
    return hashlib.sha256(who.encode() + data).hexdigest()[:32]


def _read(path: Path) -> str:
    """What was kept; "" where there is nothing."""
    try:
        return join(parse(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError):
        return ""
