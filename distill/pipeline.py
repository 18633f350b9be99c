"""The way of the data: prepare -> caption -> train -> save -> sample, as an iterator of events.

The command line, the tab, the API and the tests all consume this one iterator; none has logic of its own.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import Image

from distill.blocks import weights_of
from distill.captions import tokens
from distill.captions.backends import Desk
from distill.captions.describing import describe
from distill.captions.naming import checked_name, name_of, rare_trigger
from distill.captions.portrait import SEVERAL, Description
from distill.captions.tags import compose, subject_of, tidy, without_identity
from distill.errors import CaptionError
from distill.events import Captioned, Event, Prepared
from distill.host import Host
from distill.image import crops, quality
from distill.image.loading import load
from distill.options import CaptionOptions, Options, PictureOptions
from distill.output.atomic import check_writable
from distill.output.lora_file import unused_name
from distill.run import Run
from distill.training.optimizers import read_arguments


def check(options: Options) -> None:
    """Raises OptionError for what the options can't tell by themselves; then nothing was begun."""
    weights_of(options.network.block_weights)
    read_arguments(options.train.optimizer_args)
    if options.output.name:
        checked_name(options.output.name)


def prepare(source: Path | bytes | Image.Image, options: PictureOptions, native_px: int) -> Prepared:
    """Open, orient, judge and crop the picture. Raises PictureError."""
    picture = load(source)
    resolution_px = options.resolution or native_px
    image = crops.fit(picture.image, resolution_px, options.crop)
    return Prepared(picture, image, (*picture.notes, *quality.report(picture.image, resolution_px, options.crop)))


def desk_of(host: Host, checkpoint: str, *, key: str = "") -> Desk:
    """What captioners find at a host; `checkpoint` is the loaded one's name, `key` the endpoint's."""
    return Desk(checkpoint=checkpoint, folder=host.work_dir / "captioners", own=host.describers(), key=key)


def caption(
    image: Image.Image, options: CaptionOptions, desk: Desk, should_stop: Callable[[], bool] = lambda: False
) -> Description:
    """What captioners see in a picture; empty when none is set. Raises CaptionError, CaptioningStopped."""
    return describe(image, options, desk, should_stop)


def finish_captions(tags: Sequence[str], image: Image.Image, options: Options, tokenizer: Any) -> Captioned:
    """Edited tags -> training tags: trigger and class first, doubles and locked identity left out.

    Raises CaptionError.
    """
    # Seeded by seed and picture, so that doing it again gives the same words and so the same LoRA.
    rng = random.Random(f"{options.train.seed} {hashlib.sha256(image.tobytes()).hexdigest()}")
    trigger = options.caption.trigger.strip() or rare_trigger(tokenizer.get_vocab(), rng)
    if "," in trigger:
        raise CaptionError(f"The trigger {trigger!r} has a comma.", "Give words only; tags go into the captions.")
    tags = tidy(tags)
    subject = subject_of(tags)
    kept = without_identity(tags) if options.caption.identity == "locked" else tags
    final = compose(trigger, subject.class_word, kept)
    notes = tokens.notes(final, tokenizer)
    if subject.several:
        notes = (*notes, SEVERAL)
    return Captioned(tuple(final), trigger, notes)


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
    check(options)
    check_writable(host.lora_dir)
    with host.borrow() as models:
        if options.noise.prediction != "auto":
            models = replace(models, prediction_type=options.noise.prediction)
        prepared = prepare(source, options.picture, models.native_px)
        yield prepared
        if tags is None:
            tags = caption(prepared.image, options.caption, desk_of(host, models.name), should_stop).tags
        captioned = finish_captions(tags, prepared.image, options, models.tokenizer)
        yield captioned
        name = unused_name(host.lora_dir, options.output.name or name_of(captioned.trigger))
        yield from Run(host.lora_dir, name, models, prepared, captioned, options, now).events(should_stop)
