"""The files of a run: its epochs, the LoRA with its card, and the pictures beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image

from distill.errors import OutputError
from distill.events import Captioned, Prepared, Sampled, Saved
from distill.host import Models
from distill.options import Options
from distill.output import lora_file, sidecars
from distill.output.applying import changes
from distill.output.lora_file import Lora, kohya_name
from distill.output.lora_layers import Layer, layer_of
from distill.output.metadata import Counts, Shown, metadata, session_id
from distill.output.sampling import generate
from distill.training.adapter import Adapter, weighted
from distill.training.averages import Average

QUICK_STEPS = 10
"""Sampling steps of the pictures made while training, to compare epochs by."""

PROBED = 16
"""Edge of the latents on which a finished LoRA is tried: every layer acts on a corner, too, for far less."""


class _Stopped(Exception):
    """The person stopped while a picture was made."""


@dataclass(frozen=True)
class Trained:
    """The weights after a step; `stopped` says why training ended there, if it ended early."""

    step: int
    epoch: int
    layers: dict[str, Layer]
    stopped: str = ""

    @property
    def has_learned(self) -> bool:
        """Whether any layer changes anything: in the first steps of a warm-up the rate is 0."""
        return any(all(tensor.any() for tensor in layer.tensors().values()) for layer in self.layers.values())


def trained(adapters: Sequence[Adapter], average: Average, step: int, epoch: int) -> Trained:
    """What the adapters have learned by `step`, as it is to be saved."""
    layers = {}
    with average.instead():
        for adapter in adapters:
            for path, tensors in adapter.weights().items():
                layer = layer_of(tensors, float(tensors.pop("alpha")))
                assert layer is not None, "peft's layer has all of its tensors"
                layers[kohya_name(adapter.part, path)] = layer
    return Trained(step, epoch, layers)


def is_of(path: Path, started_at: datetime) -> bool:
    """Whether a file is there that the training made which began then."""
    return path.exists() and lora_file.read(path).metadata.get("ss_session_id") == str(session_id(started_at))


@dataclass(frozen=True)
class Files:
    """Where a run writes to, and all that is said in its files."""

    lora_dir: Path
    name: str
    models: Models
    prepared: Prepared
    captioned: Captioned
    options: Options
    now: Callable[[], datetime]
    started_at: datetime
    replaces: bool = False  # files of this very training that a killed process left behind
    counts: Counts | None = None  # None: one picture's

    @property
    def prompt(self) -> str:
        """What calls the LoRA."""
        return self._prompt(self.name)

    def _prompt(self, name: str) -> str:
        tags = ", ".join(self.captioned.tags)
        return f"{tags}, <lora:{name}:{self.options.output.preferred_weight:g}>"

    def epoch(
        self, done: Trained, adapters: Sequence[Adapter], should_stop: Callable[[], bool]
    ) -> Iterator[Saved | Sampled]:
        """An epoch's file and its quick picture, made by the `adapters` as they are."""
        saved = None
        if self.options.output.keep_epochs:
            saved = self._save(done, f"{self.name}-{done.epoch:06d}")
            yield saved
        every = self.options.sample.sample_every
        if every and done.epoch % every == 0:
            weight = self.options.output.preferred_weight
            with weighted(adapters, weight):
                picture = self._picture(should_stop, sample_steps=min(QUICK_STEPS, self.options.sample.sample_steps))
            if picture is not None:
                prompt = self.prompt if saved is None else self._prompt(saved.path.stem)
                path = sidecars.write_preview(saved.path, picture, prompt) if saved else None
                yield Sampled(picture, prompt, done.step, path)

    def besides(self, done: Trained) -> Iterator[Saved]:
        """The end of the training as an epoch's file, where an earlier epoch becomes the LoRA."""
        name = f"{self.name}-{done.epoch:06d}"
        if self.options.output.keep_epochs and not (self.lora_dir / f"{name}.safetensors").exists():
            yield self._save(done, name)

    def missing(
        self, done: Trained, adapters: Sequence[Adapter], should_stop: Callable[[], bool]
    ) -> Iterator[Saved | Sampled]:
        """What an epoch lacks where the process was killed before it had its file and its picture."""
        if self._lacks(done):
            yield from self.epoch(done, adapters, should_stop)

    def _lacks(self, done: Trained) -> bool:
        if not self.options.output.keep_epochs:
            return False
        path, every = self.lora_dir / f"{self.name}-{done.epoch:06d}.safetensors", self.options.sample.sample_every
        sampled = bool(every) and done.epoch % every == 0
        return not path.exists() or (sampled and not sidecars.preview_of(path).exists())

    def last(self, done: Trained, latents: torch.Tensor, should_stop: Callable[[], bool]) -> Iterator[Saved | Sampled]:
        """The LoRA with its card; before it gets its name it has to change what is predicted for `latents`."""
        lora, corner = self._lora(done, self.name), latents[..., :PROBED, :PROBED]
        changes(self.models, lora, corner, ", ".join(self.captioned.tags), self.options.caption.clip_skip)
        saved = self._save(done, self.name)
        yield saved
        preview = None
        if self.options.output.preview and not should_stop():
            steps, weight = self.options.sample.sample_steps, self.options.output.preferred_weight
            preview = self._picture(should_stop, sample_steps=steps, loras=[(lora, weight)])
        self._write_card(preview)
        if preview is not None:
            yield Sampled(preview, self.prompt, done.step, sidecars.preview_of(saved.path))

    def _lora(self, done: Trained, name: str) -> Lora:
        about = metadata(
            self.models,
            self.options,
            name=name,
            tags=self.captioned.tags,
            size_px=self.prepared.image.size,
            epoch=done.epoch,
            step=done.step,
            started_at=self.started_at,
            finished_at=self.now(),
            counts=self.counts,
            shown=self._shown(),
        )
        return Lora(done.layers, about)

    def _shown(self) -> list[Shown]:
        return [
            Shown(repeats=cut.repeats, size_px=cut.image.size, tags=tags)
            for cut, tags in zip(self.prepared.cuts, self.captioned.of_cuts, strict=True)
        ]

    def _save(self, done: Trained, name: str) -> Saved:
        lora, path = self._lora(done, name), self.lora_dir / f"{name}.safetensors"
        replace = self.replaces and is_of(path, self.started_at)
        lora_file.save(lora, path, precision=self.options.output.save_precision, replace=replace)
        lora_file.verify(path, lora)
        return Saved(path, done.step, done.epoch)

    def _picture(
        self, should_stop: Callable[[], bool], *, sample_steps: int, loras: Sequence[tuple[Lora, float]] = ()
    ) -> Image.Image | None:
        """What the captions give now; None when it was stopped on the way or failed."""
        (width, height), sample = self.prepared.image.size, self.options.sample
        sized = replace(
            sample, width=sample.width or width, height=sample.height or height, count=1, sample_steps=sample_steps
        )
        prompt, clip_skip = ", ".join(self.captioned.tags), self.options.caption.clip_skip

        def on_step(done: int, total: int) -> None:
            if should_stop():
                raise _Stopped

        try:
            return generate(self.models, prompt, sized, loras=loras, clip_skip=clip_skip, on_step=on_step)[0]
        except (_Stopped, OutputError, MemoryError, torch.cuda.OutOfMemoryError):
            return None  # a picture is never worth the training

    def _write_card(self, preview: Image.Image | None) -> None:
        sidecars.write(
            self.lora_dir / f"{self.name}.safetensors",
            activation_text=", ".join(self.captioned.tags),
            preferred_weight=self.options.output.preferred_weight,
            source=self.prepared.image,
            preview=preview,
            preview_prompt=self.prompt,
        )
