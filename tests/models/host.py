"""A real host with a tiny model: it checks that its weights come back bit for bit, and its lock can be held."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from distill.host import Describer, Loaded, Models, Upscaler
from tests.models import tiny


@cache
def _models() -> Models:
    """One set for all tests, as each borrowing gives it back as it was."""
    return tiny.small_models()


class TinyHost:
    """What a WebUI is to Distill: someone who lends a model and has a queue of their own."""

    name = "tiny"

    def __init__(self, lora_dir: Path) -> None:
        self.lora_dir = lora_dir
        self.work_dir = lora_dir.parent / "work"
        self.models = _models()
        self.lent = 0
        self.problem = ""
        self.queue_lock = threading.Lock()
        self.interrupt = threading.Event()
        self.reports: list[tuple[int, int, str]] = []
        self.turns: list[str] = []
        self.lists_read = 0
        self.own: tuple[Describer, ...] = ()  # captioners that it brings along
        self.own_upscalers: tuple[Upscaler, ...] = ()

    def describers(self) -> tuple[Describer, ...]:
        return self.own

    def upscalers(self) -> tuple[Upscaler, ...]:
        return self.own_upscalers

    def loaded(self) -> Loaded:
        return Loaded(name=self.models.name, problem=self.problem, native_px=self.models.native_px)

    @contextmanager
    def turn(self, job_id: str, label: str) -> Iterator[TinyTurn]:
        with self.queue_lock:
            self.turns.append(job_id)
            self.interrupt.clear()
            yield TinyTurn(self)

    def loras_changed(self) -> None:
        self.lists_read += 1

    @contextmanager
    def borrow(self) -> Iterator[Models]:
        modules = (self.models.unet, self.models.vae, self.models.text_encoder)
        before = [{name: p.detach().clone() for name, p in m.named_parameters()} for m in modules]
        self.lent += 1
        try:
            yield self.models
        finally:
            self.lent -= 1
            for module, weights in zip(modules, before):
                after = dict(module.named_parameters())
                assert after.keys() == weights.keys()
                assert all(torch.equal(after[name], weights[name]) for name in weights)
                assert not any(p.requires_grad for p in after.values())


class TinyTurn:
    def __init__(self, host: TinyHost) -> None:
        self._host = host

    def report(self, step: int, total: int, text: str) -> None:
        self._host.reports.append((step, total, text))

    def interrupted(self) -> bool:
        return self._host.interrupt.is_set()
