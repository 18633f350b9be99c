"""How far a checkpoint sees a phrase in a picture: does the phrase bring its prediction nearer to this picture?

The same noisy picture is denoised with the phrase and without it (Diffusion Classifier, Li et al. 2023, looks at the
same two losses). With r = target - without and d = with - without, both of one draw of noise and timestep,

    loss(without) - loss(with) = 2 <r, d> - |d|^2

and two shares of it are told, each draw weighed by its own 1 / |r|^2:

    match    sum <r, d> / sum |d|^2: how much of what the phrase changes the picture confirms. 1 where the phrase says
             what is there, 0 where it says something else or nothing; above 1/2 the loss falls.
    clarity  sum <r, d> / sqrt(sum |d|^2), in units of the same for words that nobody has ever said, measured in the
             same picture: what a phrase reaches by chance, on this very checkpoint.

The score is the smaller of match and clarity / CLEAR: a phrase is seen when the picture confirms it *and* that is no
chance. Compared on the pocket world in benchmarks/captions.md, with what else was tried.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from distill.conditioning import hidden_states, tokenize
from distill.errors import TrainingError
from distill.host import Models
from distill.training.encode import encode_picture
from distill.training.noise import diffuse, target_of

CONTROLS = ("qvx zorp", "blicket wumm", "plogh")
"""Invented words: what these reach is chance."""

DRAWS = 8  # of noise and timestep a phrase, at most
BAND = (0.3, 1.0)  # of the timesteps; below it, words hardly change the prediction
CLEAR = 6.0  # clarity that counts as full
KNOWN, WEAK = 0.5, 0.25  # scores from which a phrase is known or weak
SETTLED = (0.1, 0.8)  # a score outside of it after half of the draws stays as it is
HEARD = 1.5  # a phrase that moves the prediction so many times as much as invented words do is one that it knows
SPARE_TOKENS = 12  # left free for a phrase that is put behind the others
TINY = 1e-20
CPU_CELLS, DEVICE_CELLS = 64 * 64, 8 * 64 * 64  # of latents in one pass: on a CPU one picture of 512 px


@dataclass(frozen=True)
class Progress:
    """UNet passes so far, and how many there are at most."""

    done: int
    total: int
    tag: str  # at work; "" while the invented words are measured


@dataclass(frozen=True)
class Verdict:
    """What the checkpoint sees of one caption in this picture."""

    tag: str
    score: float  # -1 ... 1
    verdict: str  # "known", "weak" or "unknown"
    advice: str  # one sentence; "" for known


def ground(
    models: Models,
    image: Image.Image,
    tags: Sequence[str],
    *,
    class_word: str,
    among: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    clip_skip: int = 1,
    draws: int = DRAWS,
    generator: torch.Generator,
) -> Iterator[Progress | Verdict]:
    """A Verdict for each of `tags`, in order, and Progress after each call of the UNet; to stop, stop iterating.

    A tag is left out of the whole caption (`class_word`, then `among`; by default `tags`) or put behind it, together
    with its doubles, so that "hair" does not speak for "red hair". At most (1 + len(CONTROLS) + len(tags)) x draws
    passes of one picture each, and `draws` more for a tag that has doubles.
    `kinds` has a known word of its kind for a tag, to advise with.
    """
    caption = _window(models.tokenizer, [class_word, *(among or tags)])
    sets = 1 + len(CONTROLS) + len(tags) + _doubles(caption, tags)
    scene = _Scene(models, image, draws, clip_skip, generator, total=sets * draws)
    null = []
    for control in CONTROLS:
        null.append((yield from _contrast(scene, caption, control, scene.order)))
    chance = _Chance.of(null, scene.cells)
    for tag in tags:
        scene.tag = tag
        seen = yield from _contrast(scene, caption, tag, scene.order[: (draws + 1) // 2])
        if SETTLED[0] < chance.score(seen) < SETTLED[1]:
            seen = yield from _contrast(scene, caption, tag, scene.order)
        yield _verdict(tag, chance.score(seen), chance.effect_of(seen), (kinds or {}).get(tag, ""))


class _Scene:
    """One picture at all its draws, and what the UNet answered so far."""

    def __init__(
        self, models: Models, image: Image.Image, draws: int, clip_skip: int, generator: torch.Generator, *, total: int
    ) -> None:
        latents, _ = encode_picture(models, image, flip=False)  # (1, 4, h, w)
        alphas_cumprod = models.alphas_cumprod.to(models.device)
        low, high = (edge * len(alphas_cumprod) for edge in BAND)
        strata = (torch.arange(draws) + 0.5) / draws
        self.timesteps = (low + strata * (high - low)).long().to(models.device)  # (D,)
        noise = torch.randn((draws, *latents.shape[1:]), generator=generator).to(latents)
        latents = latents.expand_as(noise)
        self.noisy_latents = diffuse(latents, noise, self.timesteps, alphas_cumprod)  # (D, 4, h, w)
        self.target = target_of(latents, noise, self.timesteps, alphas_cumprod, models.prediction_type)
        # The first half of the draws spans the band too.
        self.order = [*range(0, draws, 2), *range(1, draws, 2)]
        self.cells = latents[0].numel()
        self.tag = ""  # at work
        self._done, self._total = 0, total
        limit = CPU_CELLS if models.device.type == "cpu" else DEVICE_CELLS
        self._at_once = max(1, limit // latents[0, 0].numel())
        self._models, self._clip_skip = models, clip_skip
        self._states: dict[str, torch.Tensor] = {}
        self._answers: dict[tuple[str, int], torch.Tensor] = {}

    def answers(self, prompt: str, wanted: Sequence[int]) -> Generator[Progress, None, torch.Tensor]:
        """The UNet's predictions (len(wanted), 4, h, w); tells the progress after each call of it."""
        missing = [draw for draw in wanted if (prompt, draw) not in self._answers]
        for start in range(0, len(missing), self._at_once):
            chunk = missing[start : start + self._at_once]
            for draw, prediction in zip(chunk, self._predict(prompt, chunk)):
                self._answers[prompt, draw] = prediction
            self._done += len(chunk)
            yield Progress(self._done, self._total, self.tag)
        return torch.stack([self._answers[prompt, draw] for draw in wanted])

    @torch.no_grad()
    def _predict(self, prompt: str, chunk: list[int]) -> torch.Tensor:
        models = self._models
        if prompt not in self._states:
            ids = tokenize(models.tokenizer, [prompt]).to(models.device)
            self._states[prompt] = hidden_states(models.text_encoder, ids, self._clip_skip).float()
        states = self._states[prompt].expand(len(chunk), -1, -1)  # (B, 77, C)
        with torch.autocast(models.device.type, models.dtype, enabled=models.dtype != torch.float32):
            prediction: torch.Tensor = models.unet(self.noisy_latents[chunk], self.timesteps[chunk], states).sample
        return prediction.float()


@dataclass(frozen=True)
class _Contrast:
    """With against without a phrase, each (D,) and in units of the loss without it."""

    rd: torch.Tensor  # <r, d> / |r|^2
    dd: torch.Tensor  # |d|^2 / |r|^2

    @property
    def clarity(self) -> float:
        return (self.rd.sum() / self.dd.sum().clamp_min(TINY).sqrt()).item()

    @property
    def match(self) -> float:
        return (self.rd.sum() / self.dd.sum().clamp_min(TINY)).item()


def _contrast(
    scene: _Scene, caption: list[str], tag: str, draws: Sequence[int]
) -> Generator[Progress, None, _Contrast]:
    with_tag, without = _pair(caption, tag)
    there = yield from scene.answers(with_tag, draws)
    base = yield from scene.answers(without, draws)
    r, d = (scene.target[draws] - base).flatten(1), (there - base).flatten(1)
    rr = r.square().sum(1).clamp_min(TINY)
    rd, dd = ((r * d).sum(1) / rr).cpu(), (d.square().sum(1) / rr).cpu()
    if not (rd.isfinite().all() and dd.isfinite().all()):
        raise TrainingError(
            "The checkpoint's predictions are not finite numbers.", "Nothing was changed; try another checkpoint."
        )
    return _Contrast(rd, dd)


@dataclass(frozen=True)
class _Chance:
    """What words that say nothing reach in this picture."""

    clarity: float  # their spread at one draw; at several it is the same, if the draws are independent
    effect: float

    @classmethod
    def of(cls, null: Sequence[_Contrast], cells: int) -> _Chance:
        cosines = torch.cat([c.rd / c.dd.clamp_min(TINY).sqrt() for c in null])
        spread = max(cosines.square().mean().sqrt().item(), cells**-0.5)  # white noise has the latter
        return cls(spread, torch.cat([c.dd for c in null]).mean().sqrt().item())

    def score(self, seen: _Contrast) -> float:
        return max(-1.0, min(1.0, seen.match, seen.clarity / self.clarity / CLEAR))

    def effect_of(self, seen: _Contrast) -> float:
        return seen.dd.mean().sqrt().item() / max(self.effect, 1e-12)


def _verdict(tag: str, score: float, effect: float, kind: str) -> Verdict:
    if score >= KNOWN:
        return Verdict(tag, score, "known", "")
    paired = f"write it with a known word of its kind{f', for example “{kind}”' if kind else ''}"
    if score >= WEAK:
        return Verdict(tag, score, "weak", f"Seen faintly by this checkpoint: use a more common word, or {paired}.")
    if effect >= HEARD:
        return Verdict(tag, score, "unknown", "This checkpoint does not see it in the picture: check the caption.")
    return Verdict(tag, score, "unknown", f"Unknown to this checkpoint: {paired}.")


def _pair(caption: list[str], tag: str) -> tuple[str, str]:
    """The caption with the tag and without it, less its doubles; the class always stays."""
    others = [other for other in caption[1:] if other != tag and _doubled(other, tag)]
    kept = [word for word in caption if word not in others]
    with_tag = kept if tag in kept[1:] else [*kept, tag]
    without = [kept[0], *(word for word in kept[1:] if word != tag)]
    return _joined(with_tag), _joined(without)


def _doubled(other: str, tag: str) -> bool:
    """Whether one says the other: "hair" and "red hair", but not "long hair" and "red hair"."""
    mine, theirs = set(tag.split()), set(other.split())
    return mine <= theirs or theirs <= mine


def _doubles(caption: list[str], tags: Sequence[str]) -> int:
    return sum(any(other != tag and _doubled(other, tag) for other in caption[1:]) for tag in tags)


def _joined(words: Sequence[str]) -> str:
    return ", ".join(word for word in words if word)


def _window(tokenizer: Any, caption: Sequence[str]) -> list[str]:
    """As much of the caption as the text encoder reads, with room for one more phrase."""
    free = tokenizer.model_max_length - 2 - SPARE_TOKENS
    kept: list[str] = []
    for tag in dict.fromkeys(caption):
        free -= len(tokenizer(tag).input_ids) - 1  # less start and end, and a comma
        if free < 0 and kept:
            break
        kept.append(tag)
    return kept
