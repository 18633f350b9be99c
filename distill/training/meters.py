"""What a LoRA has learned so far, asked of the checkpoint itself: no other model, the same few noises each time.

fit: how much better it knows the picture by its caption. bleed: how far it moves pictures of the class that do not call
it. leak: how much of the training picture a new context pulls out of pure noise. edit: whether a new context changes
the called subject as it changes the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from distill.conditioning import hidden_states, tokenize
from distill.host import Models
from distill.training.noise import diffuse, target_of

FIT_TIMESTEPS = (250, 600)
EDIT_TIMESTEP = 700  # where the layout is settled and things get their place
NOISE_TIMESTEP = 980
CONTEXT = "pink background, open mouth, yellow jacket"
"""Something that any checkpoint can draw and that changes much of the picture."""


@dataclass(frozen=True)
class Reading:
    """All of them without unit; a LoRA that does nothing reads 0, 0, 0, 1."""

    fit: float  # share of the loss on the picture that is gone; below 1
    bleed: float  # squared change of the class prompt's answer, over that which the prompt itself makes
    leak: float  # share of the way from the checkpoint's own idea to the training picture
    edit: float  # cosine between both changes by the context; 1 is the checkpoint's own


class Meters:
    """Made while the LoRA is off; `read` it while it is on. Each costs one batch of 6."""

    def __init__(
        self,
        models: Models,
        latents: torch.Tensor,  # (1, 4, h, w), the picture as the UNet sees it
        caption: str,
        trigger: str,
        class_word: str,
        *,
        clip_skip: int = 1,
        max_token_length: int = 75,
        seed: int = 0,
    ) -> None:
        called, bare = f"{trigger} {class_word}".strip(), class_word
        self._models, self._latents, self._clip_skip = models, latents, clip_skip
        self._ids = {
            text: tokenize(models.tokenizer, [text], max_token_length).to(models.device)
            for text in (caption, called, f"{called}, {CONTEXT}", bare, f"{bare}, {CONTEXT}", "")
        }
        self._caption, self._called, self._bare = caption, called, bare
        self._noises = torch.randn((len(FIT_TIMESTEPS) + 1, *latents.shape[1:]), generator=_generator(seed)).to(latents)
        self._alphas = models.alphas_cumprod.to(models.device)
        self._off = self._answers(
            [
                *self._fit_batch(),
                (self._bare_in_context, EDIT_TIMESTEP),
                (bare, EDIT_TIMESTEP),
                ("", EDIT_TIMESTEP),
                (self._bare_in_context, NOISE_TIMESTEP),
            ]
        )
        self._losses = self._fit_losses(self._off)

    @property
    def _bare_in_context(self) -> str:
        return f"{self._bare}, {CONTEXT}"

    def read(self) -> Reading:
        """What the LoRA that is on now has learned."""
        in_context = f"{self._called}, {CONTEXT}"
        on = self._answers(
            [
                *self._fit_batch(),
                (in_context, EDIT_TIMESTEP),
                (self._called, EDIT_TIMESTEP),
                (self._bare_in_context, EDIT_TIMESTEP),
                (in_context, NOISE_TIMESTEP),
            ]
        )
        fit = 1 - (self._fit_losses(on) / self._losses).mean()
        off, n = self._off, len(FIT_TIMESTEPS)
        bleed = _square(on[n + 2] - off[n]) / _square(off[n] - off[n + 2])
        edit = torch.cosine_similarity((on[n] - on[n + 1]).flatten(), (off[n] - off[n + 1]).flatten(), dim=0)
        return Reading(float(fit), float(bleed), self._leak(on[n + 3], off[n + 3]), float(edit))

    def _leak(self, on: torch.Tensor, off: torch.Tensor) -> float:
        """The new idea's way from the old one, along the line from there to the training picture."""
        was, now = self._idea(off), self._idea(on)
        there = (self._latents[0] - was).flatten()
        return float((now - was).flatten() @ there / (there @ there))

    def _idea(self, answer: torch.Tensor) -> torch.Tensor:
        """The picture that the UNet sees in pure noise, as latents (4, h, w)."""
        a, noise = self._alphas[NOISE_TIMESTEP], self._noises[-1]
        if self._models.prediction_type == "epsilon":
            return (noise - (1 - a).sqrt() * answer) / a.sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * answer

    def _fit_batch(self) -> list[tuple[str, int]]:
        return [(self._caption, t) for t in FIT_TIMESTEPS]

    def _fit_losses(self, answers: torch.Tensor) -> torch.Tensor:
        """(2,) mean squared errors on the picture."""
        n = len(FIT_TIMESTEPS)
        timesteps = torch.tensor(FIT_TIMESTEPS, device=self._models.device)
        latents = self._latents.expand(n, -1, -1, -1)
        target = target_of(latents, self._noises[:n], timesteps, self._alphas, self._models.prediction_type)
        return (answers[:n] - target).square().mean((1, 2, 3))

    @torch.no_grad()
    def _answers(self, asked: Sequence[tuple[str, int]]) -> torch.Tensor:
        """(B, 4, h, w) for texts and timesteps, the picture under noise or, at NOISE_TIMESTEP, noise alone."""
        models = self._models
        states = {text: hidden_states(models.text_encoder, self._ids[text], self._clip_skip) for text, _ in asked}
        timesteps = torch.tensor([t for _, t in asked], device=models.device)
        noises = torch.stack([self._noises[self._noise_of(i, t)] for i, (_, t) in enumerate(asked)])
        noisy = diffuse(self._latents.expand(len(asked), -1, -1, -1), noises, timesteps, self._alphas)
        noisy = torch.where((timesteps == NOISE_TIMESTEP).view(-1, 1, 1, 1), noises, noisy)
        with torch.autocast(models.device.type, models.dtype, enabled=models.dtype != torch.float32):
            answer: torch.Tensor = models.unet(noisy, timesteps, torch.cat([states[text] for text, _ in asked])).sample
        return answer.float()

    def _noise_of(self, place: int, timestep: int) -> int:
        return place if timestep in FIT_TIMESTEPS else -1


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _square(values: torch.Tensor) -> torch.Tensor:
    return values.square().mean()
