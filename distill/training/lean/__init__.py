"""The step made cheaper for the length of a training; the LoRA is the same within rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from distill.host import Models
from distill.options import Options
from distill.training.adapter import Adapter
from distill.training.dropout import Dropout
from distill.training.lean import attention, convolutions, gates, layers, norms, resnets
from distill.training.lean.overriding import Overrides


@contextmanager
def lean(models: Models, adapters: Sequence[Adapter], options: Options) -> Iterator[None]:
    """The view's modules compute more cheaply inside; each has its own `forward` back on every way out.

    What a part does not know stays as it is: LoHa and LoKr, and everything that has a LoRA while parts of it are
    dropped out, for which hooks on peft's own modules are needed.
    """
    with ExitStack() as stack:
        overrides = stack.enter_context(Overrides())
        if not Dropout(options.network).is_on:
            for adapter in adapters:
                if adapter.form == "lora":
                    found = layers.found(adapter, models.dtype)
                    layers.put(overrides, found)
                    attention.put(overrides, models.unet, found)
                    gates.put(overrides, models.unet, found)
        norms.put(overrides, models.unet, models.dtype)
        room = convolutions.Room()
        resnets.put(overrides, models.unet, room)
        convolutions.put(overrides, models.unet, room)
        yield
