"""Pictures to train on: random subjects of the pocket world, and random shapes."""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image, ImageDraw

from distill.pocket.render import render
from distill.pocket.world import NOVEL, Attributes, sample


def to_tensor(images: list[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size -> (B, 3, H, W), -1..1."""
    stacked = np.stack([np.asarray(image, dtype=np.float32) for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def to_images(pictures: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W), -1..1 -> RGB pictures."""
    levels = ((pictures.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(level) for level in levels.permute(0, 2, 3, 1).numpy()]


def random_subject(rng: random.Random, novel_share: float) -> tuple[Attributes, Image.Image]:
    """A subject and its picture; that share of them bears a kept-out attribute."""
    novel = rng.choice(NOVEL) if rng.random() < novel_share else None
    attributes = sample(rng, novel)
    return attributes, render(attributes, rng)


def random_shapes(rng: random.Random, size_px: int = 128) -> Image.Image:
    """Flat shapes in any colour, so that a VAE learns more than the world's own."""

    def color() -> tuple[int, int, int]:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    large_px = size_px * 2
    image = Image.new("RGB", (large_px, large_px), color())
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(4, 14)):
        x, y, r = rng.uniform(0, large_px), rng.uniform(0, large_px), rng.uniform(0.06, 0.3) * large_px
        box = (x - r, y - r * rng.uniform(0.3, 1), x + r, y + r * rng.uniform(0.3, 1))
        kind = rng.choice(("oval", "slab", "polygon"))
        if kind == "oval":
            draw.ellipse(box, fill=color())
        elif kind == "slab":
            draw.rectangle(box, fill=color())
        else:
            draw.polygon([(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(4)], fill=color())
    return image.resize((size_px, size_px), Image.Resampling.BOX)


def vae_batch(rng: random.Random, batch: int) -> torch.Tensor:
    """Mostly portraits, kept-out attributes too, some mirrored, some plain shapes: (B, 3, 128, 128)."""
    images = []
    for _ in range(batch):
        image = random_shapes(rng) if rng.random() < 0.1 else random_subject(rng, 0.25)[1]
        mirror = rng.random() < 0.3
        images.append(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image)
    return to_tensor(images)
