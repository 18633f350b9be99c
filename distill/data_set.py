"""The data set of one run: its pictures with their captions in several orders, and those of the class."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from distill.captions.tags import shuffled
from distill.events import Captioned, Prepared
from distill.host import Models
from distill.image.augment import recoloured
from distill.image.cuts import Cut
from distill.options import CaptionOptions, Options, TrainOptions
from distill.output.metadata import Counts
from distill.training.encode import DataSet, Source, caption_variants, encode, own_draws
from distill.training.prior import ClassPicture, balanced, without_trigger

CLASS_VARIANTS = 4  # of a class picture's caption: there may be hundreds of them


def data_set(
    models: Models,
    prepared: Prepared,
    captioned: Captioned,
    options: Options,
    class_pictures: Sequence[ClassPicture] = (),
) -> DataSet:
    """Everything that the steps draw from, encoded."""
    vary = _vary(options.caption)

    def captions(tags: Sequence[str]) -> list[str]:
        return caption_variants(tags, vary, random.Random(options.train.seed))

    sources = [
        Source(cut.image, captions(tags), cut.repeats, mask=cut.mask, recoloured=_recoloured(cut, i, options))
        for i, (cut, tags) in enumerate(zip(prepared.cuts, captioned.of_cuts, strict=True))
    ]
    reg = options.regularization
    times = balanced([p.repeats for p in class_pictures], own_draws([s.repeats for s in sources], options.train))
    of_class = [
        Source(picture.image, captions(picture.caption.split(", "))[:CLASS_VARIANTS], count, reg.reg_weight)
        for picture, count in zip(class_pictures, times)
    ]
    bare = partial(without_trigger, first=captioned.tags[0], class_word=captioned.class_word)
    return encode(
        models,
        sources,
        options.caption,
        flip=options.train.flip,
        train_text_encoder=options.train.train_text_encoder,
        class_sources=of_class,
        without_trigger=bare if reg.teacher_class or reg.teacher_blank else None,
    )


def counts_of(data: DataSet, options: TrainOptions, class_pictures: Sequence[ClassPicture]) -> Counts:
    """What the file's metadata say of it."""
    folders: dict[str, tuple[int, int]] = {}
    for picture in class_pictures[: len(data.class_items)]:
        folders[picture.folder] = (picture.repeats, folders.get(picture.folder, (0, 0))[1] + 1)
    return Counts(epoch_steps=data.epoch_steps(options), class_folders=folders)


def _recoloured(cut: Cut, number: int, options: Options) -> tuple[Image.Image, ...]:
    if not options.picture.color_aug:
        return ()
    return recoloured(cut.image, random.Random(f"{options.train.seed} {number}"))


def _vary(caption: CaptionOptions) -> Callable[[Sequence[str], random.Random], list[str]] | None:
    """The tags in another order, or some left out, for another draw."""
    keep, dropped = caption.keep_tokens, caption.tag_dropout

    def vary(tags: Sequence[str], rng: random.Random) -> list[str]:
        kept = [tag for i, tag in enumerate(tags) if i < keep or not dropped or rng.random() >= dropped]
        return shuffled(kept, keep, rng) if caption.shuffle else kept

    return vary if caption.shuffle or dropped else None
