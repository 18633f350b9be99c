"""What is in a LoRA that no caption names: drawn without any captions and with all of them, and looked at.

Pictures are drawn by trigger and class alone and by the whole caption, and both once more without the LoRA. What the
captioner sees only with the LoRA, and in the training picture too, came from that picture, and no caption can take it
away. Without a captioner the checkpoint itself is asked for a few things that people forget
(`training/grounding.py`). Measured in benchmarks/residue.md, which also says why the whole caption is drawn, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from distill.captions.backends import Desk, resolved
from distill.captions.captioner import CaptioningStopped, never
from distill.captions.describing import describe_each
from distill.captions.tags import subject_of, without_class
from distill.captions.unnamed import Pair, Shown, forgotten, unheard, unnamed
from distill.host import Host, Models
from distill.options import Options
from distill.output.lora_file import Lora, read
from distill.output.sampling import generate
from distill.training.grounding import KNOWN, Verdict, ground

PICTURES = 2  # of a prompt with the LoRA, and as many without it
STEPS = 12  # of sampling: things are there early, only their edges come late
WEIGHT = 1.0  # all that it has learned
BY_CHECKPOINT = "checkpoint"
"""Who looked, when there is no captioner."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A LoRA and what it was trained on."""

    lora: Path
    image: Image.Image  # as it was trained on
    called: str  # trigger and class: "fip zor woman"
    captions: tuple[str, ...]  # the others

    @property
    def prompts(self) -> tuple[str, ...]:
        """Without any captions, and with all of them."""
        return tuple(dict.fromkeys((self.called, ", ".join((self.called, *self.captions)))))


@dataclass(frozen=True)
class Looks:
    """What goes on: `done` of `total`."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Residue:
    """What is in the LoRA though no caption names it."""

    pictures: tuple[Image.Image, ...]  # drawn by trigger and class alone, then those by the whole caption
    without: tuple[Image.Image, ...]  # by the same words and seeds, the LoRA off
    missing: tuple[str, ...]  # captions to add
    by: tuple[str, ...]  # who looked: captioners, or the checkpoint


def residue(
    host: Host, asked: Asked, options: Options, desk: Desk, *, should_stop: Callable[[], bool] = never, seed: int = 0
) -> Iterator[Looks | Residue]:
    """Looks on the way, a Residue at the end; the same for the same seed. Hold the host's turn.

    `should_stop` is asked after each step. Raises DistillError, CaptioningStopped when it was stopped.
    """
    lora = read(asked.lora)
    with host.borrow() as models:
        pictures = yield from _drawn(models, asked, [(lora, WEIGHT)], options, should_stop, seed)
        without = yield from _drawn(models, asked, [], options, should_stop, seed)
    yield Looks(1, 1, LOOKS_AT)
    everything = (asked.image, *pictures, *without)
    # No model is lent meanwhile: a captioner of the host's may move models about.
    shown, by = _described(everything, options, desk, should_stop)
    if by and not unheard(asked.captions, shown):
        yield Residue(pictures, without, unnamed(asked.captions, shown), by)
        return
    with host.borrow() as models:
        checks = _Checks(models, asked, options.caption.clip_skip, should_stop, seed)
        if by:
            more = yield from checks.seen(asked.image, unheard(asked.captions, shown), shown.picture)
            shown = replace(shown, picture=(*shown.picture, *more))
        else:
            shown = yield from checks.shown(everything)
    yield Residue(pictures, without, unnamed(asked.captions, shown), by or (BY_CHECKPOINT,))


FOUND = "These are in the LoRA though no caption names them: they can't be left out later. Add them and distill again."
NOTHING = "Nothing is in the LoRA that no caption names, as far as was seen."
DRAWS = "Draws with the LoRA and without it."
LOOKS_AT = "Looks for what no caption names."


def _drawn(
    models: Models,
    asked: Asked,
    loras: Sequence[tuple[Lora, float]],
    options: Options,
    should_stop: Callable[[], bool],
    seed: int,
) -> Generator[Looks, None, tuple[Image.Image, ...]]:
    def on_step(done: int, total: int) -> None:
        if should_stop():
            raise CaptioningStopped

    (width, height), made = asked.image.size, []
    # Without the person's negative prompt: it would hide what is looked for.
    sample = replace(options.sample, negative="", sample_steps=STEPS, count=1, width=width, height=height)
    each = [(prompt, seed + i) for prompt in asked.prompts for i in range(PICTURES)]
    for i, (prompt, number) in enumerate(each):
        yield Looks(i + (0 if loras else len(each)), 2 * len(each), DRAWS)
        seeded, clip_skip = replace(sample, sample_seed=number), options.caption.clip_skip
        made += generate(models, prompt, seeded, loras=loras, clip_skip=clip_skip, on_step=on_step)
    return tuple(made)


def _described(
    images: Sequence[Image.Image], options: Options, desk: Desk, should_stop: Callable[[], bool]
) -> tuple[Shown, tuple[str, ...]]:
    """What captioners see in the training picture and the others, and their names; no names without any."""
    said = dict(describe_each(images, options.caption, desk, should_stop))
    tags = [tuple(without_class(said[i].tags)) if i in said else () for i in range(len(images))]
    return _shown(tags), resolved(options.caption, desk) if any(tags) else ()


def _shown(tags: Sequence[tuple[str, ...]]) -> Shown:
    """Of the training picture, those with the LoRA by prompts, those without it."""
    half = (len(tags) - 1) // 2
    with_lora, without = tags[1 : half + 1], tags[half + 1 :]
    starts = range(0, half, PICTURES)
    pairs = (Pair(tuple(with_lora[i : i + PICTURES]), tuple(without[i : i + PICTURES])) for i in starts)
    return Shown(tags[0], tuple(pairs))


@dataclass(frozen=True)
class _Checks:
    """Asks the checkpoint."""

    models: Models
    asked: Asked
    clip_skip: int
    should_stop: Callable[[], bool]
    seed: int

    def shown(self, images: Sequence[Image.Image]) -> Generator[Looks, None, Shown]:
        """What it sees of the things that people forget."""
        captions = self.asked.captions
        found = yield from self.seen(images[0], forgotten(captions), captions)
        tags = [found]
        for image in images[1:]:
            tags.append((yield from self.seen(image, found, captions)))
        return _shown(tags)

    def seen(
        self, image: Image.Image, tags: Sequence[str], among: Iterable[str]
    ) -> Generator[Looks, None, tuple[str, ...]]:
        """Those of `tags` that it knows in the picture."""
        if not tags:
            return ()
        found: list[str] = []
        class_word = subject_of([self.asked.called]).class_word
        generator = torch.Generator().manual_seed(self.seed)
        for event in ground(
            self.models,
            image,
            tags,
            class_word=class_word,
            among=[*among, *tags],
            clip_skip=self.clip_skip,
            generator=generator,
        ):
            if self.should_stop():
                raise CaptioningStopped
            if isinstance(event, Verdict):
                found += [event.tag] if event.score >= KNOWN else []
            else:
                yield Looks(event.done, event.total, LOOKS_AT)
        return tuple(found)
