"""The data set: pictures as latents and captions as embeddings, encoded once before the first step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from distill.conditioning import for_vae, tokenize
from distill.host import Models
from distill.options import CaptionOptions, TrainOptions
from distill.training.embeddings import Embeddings
from distill.training.encoded import DECODING, MEMORY, stamp_of
from distill.training.lean.encoder import lean_encoder
from distill.training.state import Orders

# More orders of the tags than this teach nothing new and only cost memory.
MOST_VARIANTS = 32


@dataclass(frozen=True)
class Source:
    """One picture to encode, with its caption in one or several orders."""

    image: Image.Image | torch.Tensor  # (1, 4, h, w) where its latents are known already
    captions: Sequence[str]
    repeats: int = 1
    weight: float = 1.0  # of its loss
    mask: Image.Image | None = None  # L, of the picture's size: 255 counts in full, 0 not at all
    recoloured: Sequence[Image.Image] = ()  # the picture in other colours: together every third draw


@dataclass(frozen=True)
class Item:
    """One picture as it is drawn from. The posterior is kept, so that each draw is a new latent of the same picture."""

    mean: torch.Tensor  # (n, 4, h, w): the picture, mirrored if that is wanted, again for each of its colours
    std: torch.Tensor  # the same shape
    rows: range  # of the data set's captions
    repeats: int = 1
    weight: float = 1.0
    mask: torch.Tensor | None = None  # (n, 1, h, w) in [0, 1]


@dataclass(frozen=True)
class Draw:
    """What one batch is made from."""

    latents: torch.Tensor  # (B, 4, h, w)
    rows: torch.Tensor  # (B,) of the data set's captions
    weight: float
    mask: torch.Tensor | None  # (B, 1, h, w)


@dataclass(frozen=True)
class DataSet:
    """What the steps draw from."""

    items: tuple[Item, ...]
    input_ids: torch.Tensor  # (V, n, 77): one row an order of the tags
    encoder_hidden_states: Embeddings | None  # None while the text encoder itself is trained
    blank: int = 0  # the row of the empty caption
    caption_dropout: float = 0.0
    class_items: tuple[Item, ...] = ()  # class pictures, each `repeats` times in an epoch
    class_rows: torch.Tensor | None = None  # (V,) for each row the one without the trigger; None without a teacher

    def epoch_steps(self, options: TrainOptions) -> int:
        """Steps in one epoch, those of class pictures among them."""
        draws = self._own_draws(options) + sum(item.repeats for item in self.class_items)
        return options.steps_of(draws)

    def draws(
        self, options: TrainOptions, generator: torch.Generator, orders: Orders | None = None, drawn: int = 0
    ) -> Iterator[Draw]:
        """Batches without end, each of one item; those that come after the first `drawn`."""
        orders = orders or Orders(generator)
        items = self._mixed(options, orders) if self.class_items else self._own(orders)
        for item in islice(items, drawn, None):
            yield self._draw(item, options.batch_size, generator)

    def _own_draws(self, options: TrainOptions) -> int:
        return own_draws([item.repeats for item in self.items], options)

    def _own(self, orders: Orders) -> Iterator[Item]:
        """The subject's pictures without end; in each round every item comes `repeats` times."""
        places = [i for i, item in enumerate(self.items) for _ in range(item.repeats)]
        while True:
            order = orders(len(places)) if len(self.items) > 1 else [0]
            for place in order:
                yield self.items[places[place]]

    def _mixed(self, options: TrainOptions, orders: Orders) -> Iterator[Item]:
        """Epoch after epoch, the subject's pictures and those of the class shuffled together (kohya).

        Each epoch has its share of both, though a batch is several draws of one picture.
        """
        places = [item for item in self.class_items for _ in range(item.repeats)]
        own, of_class = self._own(orders), cycle(places)
        count, draws = self.epoch_steps(options), len(places) + self._own_draws(options)
        begun = 0  # steps, at the epoch's begin
        while True:
            share = (begun + count) * len(places) // draws - begun * len(places) // draws
            for place in orders(count):
                yield next(of_class) if place < share else next(own)
            begun += count

    def _draw(self, item: Item, count: int, generator: torch.Generator) -> Draw:
        index = torch.randint(len(item.mean), (count,), generator=generator)
        noise = torch.randn((count, *item.mean.shape[1:]), generator=generator).to(item.mean.device)
        rows = torch.randint(item.rows.start, item.rows.stop, (count,), generator=generator)
        if self.caption_dropout:
            rows[torch.rand(count, generator=generator) < self.caption_dropout] = self.blank
        mask = None if item.mask is None else item.mask[index]
        return Draw(item.mean[index] + item.std[index] * noise, rows, item.weight, mask)


def own_draws(repeats: Sequence[int], options: TrainOptions) -> int:
    """How often the subject's pictures are drawn in an epoch; `repeats` are theirs among each other."""
    return options.repeats * (1 if options.repeats_of == "epoch" else sum(repeats))


@torch.no_grad()
def encode_picture(
    models: Models, image: Image.Image, *, flip: bool, if_room: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std of the latents (1 or 2, 4, h, w), scaled as the UNet sees them; remembered (`encoded`)."""
    image = image.convert("RGB")
    stamp = stamp_of(models, models.vae, DECODING)
    key = stamp and (stamp, models.latent_scale, flip, image.size, hashlib.sha256(image.tobytes()).digest())
    mean, std = MEMORY.recall(key, lambda: _posterior(models, image, flip), models.device, if_room=if_room)
    return mean, std


def _posterior(models: Models, image: Image.Image, flip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # (1, 3, 8h, 8w)
    pixels = _flipped(pixels.to(torch.float32) / 127.5 - 1, flip)
    with lean_encoder(models.vae):
        posterior = models.vae.encode(for_vae(models.vae, pixels)).latent_dist
    scale = models.latent_scale
    return (posterior.mean.float() * scale).to(models.device), (posterior.std.float() * scale).to(models.device)


def encode_mask(mask: Image.Image, size: tuple[int, int], *, flip: bool) -> torch.Tensor:
    """(1 or 2, 1, h, w) in [0, 1]: the mean over each latent's pixels, as kohya's masked loss."""
    levels = torch.from_numpy(np.array(mask.convert("L"))).to(torch.float32)[None, None] / 255
    return _flipped(F.interpolate(levels, size=size, mode="area"), flip)


def _flipped(values: torch.Tensor, flip: bool) -> torch.Tensor:
    return torch.cat([values, values.flip(-1)]) if flip else values


def caption_variants(
    tags: Sequence[str], vary: Callable[[Sequence[str], random.Random], list[str]] | None, rng: random.Random
) -> list[str]:
    """The caption in up to MOST_VARIANTS different forms; only as written without `vary`."""
    if vary is None:
        return [", ".join(tags)]
    drawn = [", ".join(vary(tags, rng)) for _ in range(4 * MOST_VARIANTS)]
    return list(dict.fromkeys(drawn))[:MOST_VARIANTS]


@torch.no_grad()
def encode(
    models: Models,
    sources: Sequence[Source],
    options: CaptionOptions,
    *,
    flip: bool,
    train_text_encoder: bool,
    class_sources: Sequence[Source] = (),
    without_trigger: Callable[[str], str] | None = None,
) -> DataSet:
    """Everything the loop needs, on the models' device; `without_trigger` is given where a teacher is to ask so."""
    captions = [caption for source in (*sources, *class_sources) for caption in source.captions]
    blank = len(captions)
    if options.caption_dropout or without_trigger:
        captions.append("")
    class_rows = None
    if without_trigger:
        captions, class_rows = _with_class_rows(captions, without_trigger)
    input_ids = tokenize(models.tokenizer, captions, options.max_token_length).to(models.device)
    states = None
    if not train_text_encoder:
        wanted = sum(len(source.captions) for source in sources)
        states = Embeddings(models, input_ids, options.clip_skip, wanted)
    items, first = [], 0
    for i, source in enumerate((*sources, *class_sources)):
        rows = range(first, first + len(source.captions))
        items.append(_item(models, source, rows, flip, of_class=i >= len(sources)))
        first += len(source.captions)
    own, of_class = tuple(items[: len(sources)]), tuple(items[len(sources) :])
    return DataSet(own, input_ids, states, blank, options.caption_dropout, of_class, class_rows)


def _with_class_rows(captions: list[str], without_trigger: Callable[[str], str]) -> tuple[list[str], torch.Tensor]:
    bare = [without_trigger(caption) for caption in captions]
    places = {caption: len(captions) + i for i, caption in enumerate(dict.fromkeys(bare))}
    return [*captions, *places], torch.tensor([places[caption] for caption in bare])


def _item(models: Models, source: Source, rows: range, flip: bool, *, of_class: bool) -> Item:
    if isinstance(source.image, torch.Tensor):
        mean = source.image.to(models.device, torch.float32)
        return Item(mean, torch.zeros_like(mean), rows, source.repeats, source.weight)
    mean, std = encode_picture(models, source.image, flip=flip, if_room=of_class)
    if source.recoloured:
        others = [encode_picture(models, image, flip=flip, if_room=of_class) for image in source.recoloured]
        as_it_is = 2 * len(others)  # rows, so that each draw has kohya's chance of 1/3; a row of 512 px is 128 KiB
        mean = torch.cat([mean] * as_it_is + [other for other, _ in others])
        std = torch.cat([std] * as_it_is + [other for _, other in others])
    mask = None
    if source.mask is not None:
        mask = encode_mask(source.mask, (mean.shape[-2], mean.shape[-1]), flip=flip).to(mean.device)
        mask = mask.repeat(len(mean) // len(mask), 1, 1, 1)
    return Item(mean, std, rows, source.repeats, source.weight, mask)
