"""Stopping a model in the midst of its work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distill.captions.captioner import CaptioningStopped

ASK_EVERY_S = 0.05


@contextmanager
def asking(model: Any, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Meanwhile each layer of the model asks first, as on a CPU even one word can take minutes.

    Raises CaptioningStopped out of the model.
    """
    from torch import nn

    asked = 0.0

    def ask(*_: object) -> None:
        nonlocal asked
        if time.monotonic() - asked < ASK_EVERY_S:
            return
        if should_stop():
            raise CaptioningStopped
        asked = time.monotonic()

    ask()
    layers = [layer for group in model.modules() if isinstance(group, nn.ModuleList) for layer in group]
    hooks = [layer.register_forward_pre_hook(ask) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
