"""One training run: from the prepared picture and its captions to the files of a LoRA."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image

from distill.captions.tags import shuffled
from distill.errors import OutputError, TrainingError
from distill.events import Captioned, Done, Event, Prepared, Sampled, Saved
from distill.host import Models
from distill.options import Options
from distill.output import lora_file, sidecars
from distill.output.applying import changes
from distill.output.lora_file import Lora, kohya_name
from distill.output.lora_layers import Layer, layer_of
from distill.output.metadata import metadata
from distill.output.sampling import generate
from distill.training.adapter import Adapter, attached, weighted
from distill.training.averages import Average
from distill.training.encode import DataSet, Source, caption_variants, encode
from distill.training.loop import Step, train

QUICK_STEPS = 10
"""Sampling steps of the pictures made while training, to compare epochs by."""


class _Stopped(Exception):
    """The person stopped while a picture was made."""


@dataclass(frozen=True)
class _Trained:
    """The weights after a step; `stopped` says why training ended there, if it ended early."""

    step: int
    epoch: int
    layers: dict[str, Layer]
    stopped: str = ""

    @property
    def has_learned(self) -> bool:
        """Whether any layer changes anything: in the first steps of a warm-up the rate is 0."""
        return any(all(tensor.any() for tensor in layer.tensors().values()) for layer in self.layers.values())


@dataclass(frozen=True)
class Run:
    """One training, from the prepared picture to the files."""

    lora_dir: Path
    name: str
    models: Models
    prepared: Prepared
    captioned: Captioned
    options: Options
    now: Callable[[], datetime]

    @property
    def prompt(self) -> str:
        return self._prompt(self.name)

    def _prompt(self, name: str) -> str:
        tags = ", ".join(self.captioned.tags)
        return f"{tags}, <lora:{name}:{self.options.output.preferred_weight:g}>"

    def events(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        started_at = self.now()
        generator = torch.Generator().manual_seed(self.options.train.seed)
        data = self._data()
        with ExitStack() as stack:
            adapters = self._attach(stack, generator)
            trained = yield from self._train(adapters, data, generator, should_stop, started_at)
        if trained.stopped and not trained.has_learned:
            raise TrainingError(
                f"{trained.stopped} Nothing was learned by then and nothing was saved.", "Let it run on."
            )
        lora = self._lora(trained, self.name, started_at)
        changes(
            self.models, lora, data.items[0].mean[:1], ", ".join(self.captioned.tags), self.options.caption.clip_skip
        )
        saved = self._save(lora, self.name, trained)
        yield saved
        preview = None
        if self.options.output.preview and not should_stop():
            steps, weight = self.options.sample.sample_steps, self.options.output.preferred_weight
            preview = self._picture(should_stop, sample_steps=steps, loras=[(lora, weight)])
        self._write_card(preview)
        if preview is not None:
            yield Sampled(preview, self.prompt, trained.step, sidecars.preview_of(saved.path))
        yield Done(saved.path, self.prompt, trained.step, trained.stopped)

    def _data(self) -> DataSet:
        options = self.options
        sources = [
            Source(cut.image, self._captions(tags), cut.repeats, mask=cut.mask)
            for cut, tags in zip(self.prepared.cuts, self.captioned.of_cuts, strict=True)
        ]
        te = options.train.train_text_encoder
        return encode(self.models, sources, options.caption, flip=options.train.flip, train_text_encoder=te)

    def _captions(self, tags: Sequence[str]) -> list[str]:
        return caption_variants(tags, self._vary(), random.Random(self.options.train.seed))

    def _vary(self) -> Callable[[Sequence[str], random.Random], list[str]] | None:
        """The tags in another order, or some left out, for another draw."""
        caption = self.options.caption
        keep, dropped = caption.keep_tokens, caption.tag_dropout

        def vary(tags: Sequence[str], rng: random.Random) -> list[str]:
            kept = [tag for i, tag in enumerate(tags) if i < keep or not dropped or rng.random() >= dropped]
            return shuffled(kept, keep, rng) if caption.shuffle else kept

        return vary if caption.shuffle or dropped else None

    def _attach(self, stack: ExitStack, generator: torch.Generator) -> list[Adapter]:
        train_options = self.options.train
        parts = {"unet": self.models.unet}
        if train_options.train_text_encoder:
            parts["text_encoder"] = self.models.text_encoder
        network = self.options.network
        return [stack.enter_context(attached(module, part, network, generator)) for part, module in parts.items()]

    def _train(
        self,
        adapters: list[Adapter],
        data: DataSet,
        generator: torch.Generator,
        should_stop: Callable[[], bool],
        started_at: datetime,
    ) -> Generator[Step | Saved | Sampled, None, _Trained]:
        average = Average(adapters, self.options.train.ema_decay)
        epoch_steps = data.epoch_steps(self.options.train)
        good: _Trained | None = None
        try:
            for step in train(self.models, data, adapters, self.options, generator=generator):
                average.update()
                yield step
                if step.index == step.total:
                    break
                if should_stop():
                    stopped = f"Stopped at step {step.index} of {step.total}."
                    return replace(_trained(adapters, average, step, epoch_steps), stopped=stopped)
                if step.index % epoch_steps == 0:
                    good = _trained(adapters, average, step, epoch_steps)
                    with average.instead():
                        yield from self._epoch(good, adapters, started_at, should_stop)
            return _trained(adapters, average, step, epoch_steps)
        except (TrainingError, MemoryError, RuntimeError) as error:
            reason = _reason(error)
            if good is None:
                raise TrainingError(
                    f"{reason.message} Nothing was saved; your model is as it was.", reason.hint
                ) from error
            return replace(good, stopped=f"{reason.message} Epoch {good.epoch} is saved. {reason.hint}")

    def _epoch(
        self, good: _Trained, adapters: list[Adapter], started_at: datetime, should_stop: Callable[[], bool]
    ) -> Iterator[Saved | Sampled]:
        saved = None
        if self.options.output.keep_epochs:
            name = f"{self.name}-{good.epoch:06d}"
            saved = self._save(self._lora(good, name, started_at), name, good)
            yield saved
        every = self.options.sample.sample_every
        if every and good.epoch % every == 0:
            weight = self.options.output.preferred_weight
            with weighted(adapters, weight):
                picture = self._picture(should_stop, sample_steps=min(QUICK_STEPS, self.options.sample.sample_steps))
            if picture is not None:
                prompt = self.prompt if saved is None else self._prompt(saved.path.stem)
                path = sidecars.write_preview(saved.path, picture, prompt) if saved else None
                yield Sampled(picture, prompt, good.step, path)

    def _lora(self, trained: _Trained, name: str, started_at: datetime) -> Lora:
        about = metadata(
            self.models,
            self.options,
            name=name,
            tags=self.captioned.tags,
            size_px=self.prepared.image.size,
            epoch=trained.epoch,
            step=trained.step,
            started_at=started_at,
            finished_at=self.now(),
        )
        return Lora(trained.layers, about)

    def _save(self, lora: Lora, name: str, trained: _Trained) -> Saved:
        path = self.lora_dir / f"{name}.safetensors"
        lora_file.save(lora, path, precision=self.options.output.save_precision)
        lora_file.verify(path, lora)
        return Saved(path, trained.step, trained.epoch)

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


def _trained(adapters: list[Adapter], average: Average, step: Step, epoch_steps: int) -> _Trained:
    layers = {}
    with average.instead():
        for adapter in adapters:
            for path, tensors in adapter.weights().items():
                layer = layer_of(tensors, float(tensors.pop("alpha")))
                assert layer is not None, "peft's layer has all of its tensors"
                layers[kohya_name(adapter.part, path)] = layer
    return _Trained(step.index, -(-step.index // epoch_steps), layers)


def _reason(error: Exception) -> TrainingError:
    """What a broken step means to the user; foreign errors that are not about memory go on as they are."""
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error):
        hint = "Retry with gradient checkpointing, a smaller batch, a lower rank or a smaller resolution."
        return TrainingError("Out of memory while training.", hint)
    raise error
