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
from distill.captions import framing, tokens
from distill.captions.backends import Desk
from distill.captions.describing import describe
from distill.captions.naming import checked_name, name_of, rare_trigger
from distill.captions.portrait import SEVERAL, Description
from distill.captions.tags import compose, subject_of, tidy, without_background, without_identity
from distill.errors import CaptionError
from distill.events import Captioned, Event
from distill.host import Host, Upscaler
from distill.image import augment, upscaling, views
from distill.image.cuts import Cut
from distill.logged import LOGS, logged
from distill.options import CaptionOptions, Options
from distill.output.atomic import check_writable
from distill.output.lora_file import unused_name
from distill.plan import Plan
from distill.preparing import prepare, prepare_all
from distill.regularization import gathering
from distill.regularization.gathering import class_pictures
from distill.resuming import keeping_of, kept_state, name_then, said_then
from distill.run import Run
from distill.training.fallbacks import runnable
from distill.training.optimizers import read_arguments

__all__ = ["caption", "captions_of", "check", "desk_of", "distill", "finish_captions", "prepare", "prepare_all"]


def check(options: Options, upscalers: Sequence[Upscaler]) -> None:
    """Raises OptionError for what the options can't tell by themselves; then nothing was begun.

    `upscalers` are the host's.
    """
    weights_of(options.network.block_weights)
    views.names_of(options.picture.views)
    upscaling.check(options.picture.upscaler, upscalers)
    augment.names_of(options.picture.captioned_aug)
    read_arguments(options.train.optimizer_args)
    gathering.check(options)
    if options.output.name:
        checked_name(options.output.name)


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
    final = _composed(trigger, subject.class_word, tags, options.caption)
    notes = tokens.notes(final, tokenizer)
    if subject.several:
        notes = (*notes, SEVERAL)
    return Captioned(tuple(final), trigger, notes, class_word=subject.class_word)


def captions_of(
    cuts: Sequence[Cut], of_shots: Sequence[Sequence[str]], captioned: Captioned, options: CaptionOptions
) -> tuple[tuple[str, ...], ...]:
    """The training tags of each training picture; `of_shots` are those of the pictures they are cut from."""
    class_word = subject_of(of_shots[0]).class_word  # it is one subject in all of them
    given = [_said_of(cut, of_shots[cut.shot]) for cut in cuts]
    return tuple(tuple(_composed(captioned.trigger, class_word, tidy(tags), options)) for tags in given)


def _said_of(cut: Cut, tags: Sequence[str]) -> Sequence[str]:
    """What the captions of a cut say, from those of its picture."""
    if cut.tags is not None:
        said = list(cut.tags)
    else:
        said = framing.of_view(tags, cut.words) if cut.name else framing.of_whole(tags, cut.words)
    return (*without_background(tidy(said)), *cut.ground) if cut.ground else said


def _composed(trigger: str, class_word: str, tags: Sequence[str], options: CaptionOptions) -> list[str]:
    return compose(trigger, class_word, without_identity(tags) if options.identity == "locked" else tags)


def distill(
    host: Host,
    source: Path | bytes | Image.Image,
    tags: Sequence[str] | None,
    options: Options,
    *,
    plan: Plan = Plan(),  # noqa: B008 - it is frozen
    should_stop: Callable[[], bool] = lambda: False,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    key: str = "",
    resume: bool = False,
) -> Iterator[Event]:
    """Train one LoRA on one picture and what `plan` says beside it; `tags` None asks the captioner.

    `should_stop` is asked after every step: what is trained by then is saved. Closing the iterator
    discards it instead. Either way the models are given back as they were.
    `key` names the state that is kept at each epoch, else the LoRA's name does. `resume` goes on from that state, or
    without a key from the one that fits.
    Raises DistillError; epochs that were saved before stay.
    """
    check(options, host.upscalers())
    check_writable(host.lora_dir)
    plan = plan.counted(options.train)
    enlarge = upscaling.enlarger(options.picture.upscaler, host.upscalers())
    native_px = host.loaded().native_px
    # Before the model is borrowed: an upscaler may have the host move models about.
    ready = prepare_all(source, options.picture, native_px, plan, enlarge) if enlarge else None
    with host.borrow() as models:
        if options.noise.prediction != "auto":
            models = replace(models, prediction_type=options.noise.prediction)
        train, changed = runnable(options.train, models.device)
        options = replace(options, train=train)
        if ready is None or native_px != models.native_px:
            ready = prepare_all(source, options.picture, models.native_px, plan, enlarge)
        prepared, more = ready
        prepared = replace(prepared, notes=(*prepared.notes, *changed))
        yield prepared
        kept = kept_state(host.work_dir, key, prepared.picture.image, options) if resume else None
        asked = said_then([tags, *(shot.tags for shot in plan.more)], kept)
        desk = desk_of(host, models.name)
        of_shots = [
            caption(shot.image, options.caption, desk, should_stop).tags if given is None else given
            for shot, given in zip((prepared, *more), asked)
        ]
        of_whole = _said_of(prepared.cuts[0], of_shots[0])
        captioned = finish_captions(of_whole, prepared.image, options, models.tokenizer)
        captioned = replace(captioned, of_cuts=captions_of(prepared.cuts, of_shots, captioned, options.caption))
        yield captioned
        pictures = yield from class_pictures(models, prepared, captioned, options, desk, host.work_dir, should_stop)
        wished = options.output.name or name_of(captioned.trigger)
        name = name_then(kept, host.lora_dir) if kept else unused_name(host.lora_dir, wished)
        keeping = keeping_of(host.work_dir, key or name, options, kept, of_shots)
        run = Run(host.lora_dir, name, models, prepared, captioned, options, now, pictures, keeping)
        how, folder = options.output.log, host.work_dir / LOGS / name
        yield from logged(run.events(should_stop), folder, how, options.train.epochs)
