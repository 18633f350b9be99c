"""The meters beside a run: when they are read, what is kept for the person's taste, and when nothing is gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from distill.events import Captioned, Measured, measured
from distill.host import Models
from distill.options import Options
from distill.output.lora_layers import layer_of
from distill.saving import Trained
from distill.training import picker
from distill.training.adapter import Adapter, switched_off
from distill.training.meters import Meters, Reading

SAMPLES_BETWEEN = 40
"""Of training, at least, between two readings: one is 6 forward passes, a sample costs about 2.2 of them. So 120
samples have three readings and the one of the checkpoint itself: 6 to 7 % of the time (benchmarks/meters.py). Twice as
often where the person wants it to end when nothing is gained."""

ENOUGH = "Nothing more was gained at step {step} of {total}, so it ended there."
_BEST = "best."


class Watch:
    """The readings so far and the best of the epochs by the person's taste.

    The checkpoint's own answers are asked at the first reading, with the LoRA off, so that no step waits for them.
    """

    def __init__(
        self,
        models: Models,
        latents: torch.Tensor,  # (1, 4, h, w), the picture as the UNet sees it
        captioned: Captioned,
        options: Options,
        adapters: Sequence[Adapter],
    ) -> None:
        self.measured: list[Measured] = []
        self.best: Trained | None = None  # None: the last one is taken
        self._taste, self._early = options.output.pick, options.train.stop_early
        self._batch = options.train.batch_size * options.train.gradient_accumulation
        self._between = SAMPLES_BETWEEN // 2 if self._early else SAMPLES_BETWEEN
        self._is_needed = options.output.meters or self._early or self._taste in picker.COSTS
        self._adapters, self._made = adapters, partial(_meters, models, latents, captioned, options)
        self._meters: Meters | None = None

    def read(self, done: Trained, left: int) -> Iterator[Measured]:
        """What the LoRA that is on has learned, `left` steps before the end; nothing a moment after it was asked, or
        before it will be asked: it always is at the end.
        """
        before = self.measured[-1].step if self.measured else 0
        is_soon = min(done.step - before, left) * self._batch < self._between
        if not self._is_needed or not done.has_learned or (is_soon and left):
            return
        if self._meters is None:
            with switched_off(self._adapters):
                self._meters = self._made()
        reading = self._meters.read()
        self.measured.append(Measured(done.step, done.epoch, reading, picker.verdict([*self._readings, reading])))
        if self._taste in picker.COSTS and picker.pick(self._readings, self._taste) == len(self.measured) - 1:
            self.best = done
        yield self.measured[-1]

    @property
    def is_enough(self) -> bool:
        """Whether more training brings nothing, and the person wants it to end then."""
        return self._early and picker.gains_nothing(self._readings)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What it has so far, as plain values and tensors."""
        values: dict[str, Any] = {"measured": [measured.as_json() for measured in self.measured]}
        tensors: dict[str, torch.Tensor] = {}
        if self.best is not None:
            alphas = {name: layer.alpha for name, layer in self.best.layers.items()}
            values["best"] = {"step": self.best.step, "epoch": self.best.epoch, "alphas": alphas}
            for name, layer in self.best.layers.items():
                tensors |= {f"{_BEST}{name}.{part}": tensor for part, tensor in layer.tensors().items()}
        return values, {name: tensor.contiguous() for name, tensor in tensors.items()}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on after `state`."""
        self.measured = [measured(plain) for plain in values.get("measured", [])]
        best = values.get("best")
        if best is None:
            return
        layers = {}
        for name, alpha in best["alphas"].items():
            start = f"{_BEST}{name}."
            layer = layer_of({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}, alpha)
            assert layer is not None, "state() wrote all of its tensors"
            layers[name] = layer
        self.best = Trained(best["step"], best["epoch"], layers)

    @property
    def _readings(self) -> list[Reading]:
        return [one.reading for one in self.measured]


def _meters(models: Models, latents: torch.Tensor, captioned: Captioned, options: Options) -> Meters:
    return Meters(
        models,
        latents,
        ", ".join(captioned.tags),
        captioned.trigger,
        captioned.class_word,
        clip_skip=options.caption.clip_skip,
        max_token_length=options.caption.max_token_length,
    )
