"""The data set: one picture as latents and its captions as embeddings, encoded once before the first step."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from distill.conditioning import hidden_states, tokenize
from distill.host import Models

# More orders of the tags than this teach nothing new and only cost memory.
MOST_VARIANTS = 32


@dataclass(frozen=True)
class DataSet:
    """What a step draws from. The posterior is kept, so that each draw is a new latent of the same picture."""

    mean: torch.Tensor  # (1 or 2, 4, h, w); the second is the mirrored picture
    std: torch.Tensor  # the same shape
    input_ids: torch.Tensor  # (V, 77): one row an order of the tags
    encoder_hidden_states: torch.Tensor | None  # (V, 77, C); None while the text encoder itself is trained

    def draw_latents(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count, 4, h, w), a fresh sample of the VAE's posterior each, mirrored for half of them if flip is on."""
        index = torch.randint(len(self.mean), (count,), generator=generator)
        noise = torch.randn((count, *self.mean.shape[1:]), generator=generator).to(self.mean.device)
        return self.mean[index] + self.std[index] * noise

    def draw_captions(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count,) indices of caption variants."""
        return torch.randint(len(self.input_ids), (count,), generator=generator)


@torch.no_grad()
def encode_picture(models: Models, image: Image.Image, *, flip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std of the latents (1 or 2, 4, h, w), scaled as the UNet sees them."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]  # (1, 3, 8h, 8w)
    pixels = pixels.to(torch.float32) / 127.5 - 1
    if flip:
        pixels = torch.cat([pixels, pixels.flip(-1)])
    parameter = next(models.vae.parameters())
    posterior = models.vae.encode(pixels.to(parameter.device, parameter.dtype)).latent_dist
    scale = models.latent_scale
    return (posterior.mean.float() * scale).to(models.device), (posterior.std.float() * scale).to(models.device)


def caption_variants(
    tags: Sequence[str], shuffle: Callable[[Sequence[str], random.Random], list[str]] | None, rng: random.Random
) -> list[str]:
    """The caption in up to MOST_VARIANTS different orders; only as written without `shuffle`."""
    if shuffle is None:
        return [", ".join(tags)]
    drawn = [", ".join(shuffle(tags, rng)) for _ in range(4 * MOST_VARIANTS)]
    return list(dict.fromkeys(drawn))[:MOST_VARIANTS]


@torch.no_grad()
def encode(
    models: Models, image: Image.Image, captions: Sequence[str], *, flip: bool, clip_skip: int, train_text_encoder: bool
) -> DataSet:
    """Everything the loop needs, on the models' device."""
    mean, std = encode_picture(models, image, flip=flip)
    input_ids = tokenize(models.tokenizer, captions).to(models.device)
    states = None
    if not train_text_encoder:
        states = torch.cat([hidden_states(models.text_encoder, ids[None], clip_skip).float() for ids in input_ids])
    return DataSet(mean, std, input_ids, states)
