"""Class pictures that the loaded checkpoint makes, kept as latents: made once, gone on with after a stop."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from distill.errors import OutputError, TrainingError
from distill.events import Prepares
from distill.host import Models
from distill.options import Options, SampleOptions
from distill.output import atomic
from distill.output.sampling import sampled_latents
from distill.regularization.prompts import default_template, expanded
from distill.training.prior import ClassPicture

FIRST_SEED = 1000  # the same whatever the training's seed is, so that every training takes the kept ones
ENDING = ".latents"  # safetensors inside; WebUIs would take another ending for a LoRA


@dataclass(frozen=True, kw_only=True)
class Kind:
    """All that decides what the pictures of one set look like."""

    checkpoint: str  # sha256, or the name where that is not known
    prediction_type: str
    template: str
    size_px: tuple[int, int]  # (width, height)
    steps: int
    cfg_scale: float
    negative: str
    clip_skip: int
    version: int = 1  # of the sampler

    @property
    def key(self) -> str:
        """Its folder's name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]


def kind_of(models: Models, options: Options, class_word: str, size_px: tuple[int, int]) -> Kind:
    """The set that the options ask for."""
    return Kind(
        checkpoint=models.sha256 or models.name,
        prediction_type=models.prediction_type,
        template=options.regularization.reg_prompt.strip() or default_template(class_word),
        size_px=size_px,
        steps=options.sample.sample_steps,
        cfg_scale=options.sample.cfg_scale,
        negative=options.sample.negative,
        clip_skip=options.caption.clip_skip,
    )


def generated(
    models: Models, kind: Kind, kept_in: Path, count: int, should_stop: Callable[[], bool]
) -> Generator[Prepares, None, list[ClassPicture]]:
    """The first `count` pictures of the set, the missing ones made now. Raises TrainingError when stopped."""
    folder, pictures = kept_in / kind.key, []
    missing = [i for i in range(count) if _read(folder, i, kind) is None]
    if missing:
        yield Prepares(count - len(missing), count, _text(count - len(missing), count))
    for i in range(count):
        latents = _read(folder, i, kind)
        if latents is None:
            latents = _made(models, kind, i, should_stop, f"{i} of {count} class pictures are made and kept")
            # One that can't be kept is made anew the next time.
            with contextlib.suppress(OutputError, OSError):
                folder.mkdir(parents=True, exist_ok=True)
                data = save({"latents": latents}, {"prompt": _prompt(kind, i)})
                atomic.write(folder / f"{i:05d}{ENDING}", data, replace=True)
            yield Prepares(i + 1, count, _text(i + 1, count))
        pictures.append(ClassPicture(latents, _prompt(kind, i), folder="generated"))
    return pictures


def _text(done: int, count: int) -> str:
    return f"Makes class pictures: {done} of {count}."


def _prompt(kind: Kind, i: int) -> str:
    return expanded(kind.template, random.Random(i))


def _made(models: Models, kind: Kind, i: int, should_stop: Callable[[], bool], so_far: str) -> torch.Tensor:
    def on_step(done: int) -> None:
        if should_stop():
            raise TrainingError(f"Stopped: {so_far}.", "Nothing is trained yet; the next training goes on from there.")

    on_step(0)
    width, height = kind.size_px
    sample = SampleOptions(
        width=width, height=height, sample_steps=kind.steps, cfg_scale=kind.cfg_scale, negative=kind.negative
    )
    sample = replace(sample, sample_seed=FIRST_SEED + i)
    latents = sampled_latents(models, _prompt(kind, i), sample, clip_skip=kind.clip_skip, on_step=on_step)
    latents = latents.to("cpu", torch.float32)
    if not latents.isfinite().all():
        raise TrainingError("A class picture has numbers that are not finite.", "Use the checkpoint in full precision.")
    return latents


def _read(folder: Path, i: int, kind: Kind) -> torch.Tensor | None:
    """Latents (1, 4, h, w) that were kept; None where there are none or the file is damaged."""
    width, height = kind.size_px
    try:
        latents = load((folder / f"{i:05d}{ENDING}").read_bytes())["latents"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    is_whole = latents.shape == (1, 4, height // 8, width // 8) and latents.dtype == torch.float32
    return latents if is_whole and bool(latents.isfinite().all()) else None
