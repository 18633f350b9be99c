"""The way of the data: prepare -> caption -> train -> save -> sample, as an iterator of events.

The command line, the tab, the API and the tests all consume this one iterator; none has logic of its own.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image

from distill.captions.backends import open_captioner
from distill.captions.naming import checked_name, rare_trigger
from distill.captions.tags import class_of, compose, deduplicated
from distill.events import Captioned, Event, Prepared
from distill.host import Host
from distill.image import crops, quality
from distill.image.loading import load
from distill.options import CaptionOptions, Options, PictureOptions
from distill.output import lora_file
from distill.run import Run


def prepare(source: Path | bytes | Image.Image, options: PictureOptions, native_px: int) -> Prepared:
    """Open, orient, judge and crop the picture. Raises PictureError."""
    picture = load(source)
    resolution_px = options.resolution or native_px
    image = crops.fit(picture.image, resolution_px, options.crop)
    return Prepared(picture, image, (*picture.notes, *quality.report(picture.image, resolution_px)))


def caption(image: Image.Image, options: CaptionOptions) -> list[str]:
    """Tags proposed for a picture, without trigger. Raises CaptionError."""
    captioner = open_captioner(options.captioner)
    try:
        return captioner.caption(image)
    finally:
        captioner.close()


def finish_captions(tags: Sequence[str], image: Image.Image, options: Options, vocabulary: dict[str, int]) -> Captioned:
    """Edited tags -> training tags: trigger and class come first, doubles go. Raises CaptionError."""
    tags = deduplicated(tags)
    # Seeded by seed and picture, so that doing it again gives the same words and so the same LoRA.
    rng = random.Random(f"{options.train.seed} {hashlib.sha256(image.tobytes()).hexdigest()}")
    trigger = options.caption.trigger.strip() or rare_trigger(vocabulary, rng)
    return Captioned(tuple(compose(trigger, class_of(tags), tags)), trigger)


def distill(
    host: Host,
    source: Path | bytes | Image.Image,
    tags: Sequence[str] | None,
    options: Options,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Iterator[Event]:
    """Train one LoRA on one picture; `tags` None asks the captioner.

    `should_stop` is asked after every step: what is trained by then is saved. Closing the iterator
    discards it instead. Either way the models are given back as they were.
    Raises DistillError; epochs that were saved before stay.
    """
    wished = checked_name(options.output.name) if options.output.name else ""
    lora_file.check_writable(host.lora_dir)
    with host.borrow() as models:
        prepared = prepare(source, options.picture, models.native_px)
        yield prepared
        tags = caption(prepared.image, options.caption) if tags is None else tags
        captioned = finish_captions(tags, prepared.image, options, models.tokenizer.get_vocab())
        yield captioned
        name = lora_file.unused_name(host.lora_dir, wished or captioned.trigger.replace(" ", "_"))
        yield from Run(host.lora_dir, name, models, prepared, captioned, options, now).events(should_stop)
