"""The data set: pictures as latents and captions as embeddings, encoded once before the first step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from distill.conditioning import hidden_states, tokenize
from distill.host import Models
from distill.options import CaptionOptions, TrainOptions

# More orders of the tags than this teach nothing new and only cost memory.
MOST_VARIANTS = 32


@dataclass(frozen=True)
class Source:
    """One picture to encode, with its caption in one or several orders."""

    image: Image.Image
    captions: Sequence[str]
    repeats: int = 1
    weight: float = 1.0  # of its loss
    mask: Image.Image | None = None  # L, of the picture's size: 255 counts in full, 0 not at all


@dataclass(frozen=True)
class Item:
    """One picture as it is drawn from. The posterior is kept, so that each draw is a new latent of the same picture."""

    mean: torch.Tensor  # (1 or 2, 4, h, w); the second is the mirrored picture
    std: torch.Tensor  # the same shape
    rows: range  # of the data set's captions
    repeats: int = 1
    weight: float = 1.0
    mask: torch.Tensor | None = None  # (1 or 2, 1, h, w) in [0, 1]


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
    encoder_hidden_states: torch.Tensor | None  # (V, 75 n + 2, C); None while the text encoder itself is trained
    blank: int = 0  # the row of the empty caption
    caption_dropout: float = 0.0

    def epoch_steps(self, options: TrainOptions) -> int:
        """Steps in one epoch."""
        if options.repeats_of == "epoch":
            return options.repeats
        return -(-options.repeats * sum(item.repeats for item in self.items) // options.batch_size)

    def draws(self, count: int, generator: torch.Generator) -> Iterator[Draw]:
        """Batches of `count` draws without end, each of one item; in each epoch every item comes `repeats` times."""
        places = [i for i, item in enumerate(self.items) for _ in range(item.repeats)]
        while True:
            order = torch.randperm(len(places), generator=generator).tolist() if len(self.items) > 1 else [0]
            for place in order:
                yield self._draw(self.items[places[place]], count, generator)

    def _draw(self, item: Item, count: int, generator: torch.Generator) -> Draw:
        index = torch.randint(len(item.mean), (count,), generator=generator)
        noise = torch.randn((count, *item.mean.shape[1:]), generator=generator).to(item.mean.device)
        rows = torch.randint(item.rows.start, item.rows.stop, (count,), generator=generator)
        if self.caption_dropout:
            rows[torch.rand(count, generator=generator) < self.caption_dropout] = self.blank
        mask = None if item.mask is None else item.mask[index]
        return Draw(item.mean[index] + item.std[index] * noise, rows, item.weight, mask)


@torch.no_grad()
def encode_picture(models: Models, image: Image.Image, *, flip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std of the latents (1 or 2, 4, h, w), scaled as the UNet sees them."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]  # (1, 3, 8h, 8w)
    pixels = _flipped(pixels.to(torch.float32) / 127.5 - 1, flip)
    parameter = next(models.vae.parameters())
    posterior = models.vae.encode(pixels.to(parameter.device, parameter.dtype)).latent_dist
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
    models: Models, sources: Sequence[Source], options: CaptionOptions, *, flip: bool, train_text_encoder: bool
) -> DataSet:
    """Everything the loop needs, on the models' device."""
    captions = [caption for source in sources for caption in source.captions]
    blank = len(captions)
    if options.caption_dropout:
        captions.append("")
    input_ids = tokenize(models.tokenizer, captions, options.max_token_length).to(models.device)
    states = None
    if not train_text_encoder:
        skip = options.clip_skip
        states = torch.cat([hidden_states(models.text_encoder, ids[None], skip).float() for ids in input_ids])
    items, first = [], 0
    for source in sources:
        items.append(_item(models, source, range(first, first + len(source.captions)), flip))
        first += len(source.captions)
    return DataSet(tuple(items), input_ids, states, blank, options.caption_dropout)


def _item(models: Models, source: Source, rows: range, flip: bool) -> Item:
    mean, std = encode_picture(models, source.image, flip=flip)
    mask = None
    if source.mask is not None:
        mask = encode_mask(source.mask, (mean.shape[-2], mean.shape[-1]), flip=flip).to(mean.device)
    return Item(mean, std, rows, source.repeats, source.weight, mask)
