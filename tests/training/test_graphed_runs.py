"""Whole runs with recorded steps: their files are those of eager ones, and out of memory ends nothing."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from distill.events import Done, Measured, Noted, Sampled
from distill.options import Options
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.training import graphed, loop
from distill.training.loop import Step
from tests.models.host import TinyHost
from tests.training.tape import Tape

TAGS = ["woman", "red hair", "green eyes"]
QUICK = {"repeats": 6, "epochs": 2, "batch_size": 1, "network_dim": 4, "network_alpha": 4.0, "unet_lr": 1e-3}
QUICK |= {"trigger": "fip zor", "save_precision": "fp32", "preview": False, "sample_every": 0, "meters": False}
QUICK |= {"cuda_graph": True}


@pytest.fixture(autouse=True)
def early(monkeypatch):
    monkeypatch.setattr(graphed, "LEAST", 2)


def trained(monkeypatch, tmp_path, recorders, fails_at=0, **changes):
    """The events of a training with those recorders, of whose eager passes one has too little memory."""
    waiting, passes, eager = iter(recorders), [], loop._add_gradients

    def pass_once(*arguments):
        passes.append(1)
        if len(passes) == fails_at:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return eager(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(graphed, "recorder_for", lambda device: next(waiting, None))
        patch.setattr(loop, "_add_gradients", pass_once)
        picture = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
        options = Options.from_flat({**QUICK, **changes})
        return list(distill(TinyHost(tmp_path / "Lora"), picture, TAGS, options))


def notes(events):
    return [event.note for event in events if isinstance(event, Noted)]


def losses(events):
    return [event.loss for event in events if isinstance(event, Step)]


def same(events, others):
    """Whether the two have one LoRA, to the bit."""
    assert isinstance(events[-1], Done)
    found, expected = (read(each[-1].path).layers for each in (events, others))
    return losses(events) == losses(others) and all(
        torch.equal(tensor, expected[name].tensors()[part])
        for name, layer in found.items()
        for part, tensor in layer.tensors().items()
    )


@pytest.mark.slow
def test_means_meters_and_pictures_between_the_steps_change_nothing(monkeypatch, tmp_path):
    beside = {"ema_decay": 0.9, "meters": True, "sample_every": 1, "sample_steps": 2}
    tape = Tape()
    events = trained(monkeypatch, tmp_path / "recorded", [tape], **beside)
    assert same(events, trained(monkeypatch, tmp_path / "eager", [], **beside))
    assert {Measured, Sampled} <= set(map(type, events))
    assert tape.replays == 12
    assert tape.is_closed
    assert not [note for note in notes(events) if "Recording" in note]


@pytest.mark.slow
def test_a_recording_that_is_given_up_is_said_once(monkeypatch, tmp_path):
    class Refuses(Tape):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing")

    events = trained(monkeypatch, tmp_path / "recorded", [Refuses()])
    assert same(events, trained(monkeypatch, tmp_path / "eager", []))
    (note,) = [note for note in notes(events) if "Recording" in note]
    assert "step 1 (RuntimeError: operation not permitted" in note


def test_too_little_memory_beside_a_recording_takes_the_step_back(monkeypatch, tmp_path):
    tape, never = Tape(), Tape()
    views = {"views": "upper body", "view_min_px": 64, "flip": True}
    events = trained(monkeypatch, tmp_path / "recorded", [tape, never], fails_at=2, **views)
    assert same(events, trained(monkeypatch, tmp_path / "eager", [], **views))
    (note,) = [note for note in notes(events) if "Out of memory" in note]
    assert "step 2: it goes on without a recorded step" in note
    assert tape.replays == 1
    assert tape.is_closed
    assert not never.recordings
