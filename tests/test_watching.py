"""The meters beside a whole training: when they are read, which epoch becomes the LoRA, when it ends early."""

import pytest
import torch

from distill import watching
from distill.events import Done, Measured, Noted, Saved
from distill.pipeline import distill
from distill.training import picker
from distill.training.loop import Step
from tests.models.host import TinyHost
from tests.test_resume import PICTURE, QUIET, TAGS, killed, options, same, tensors

LONG = {
    **QUIET,
    "loraplus_lr_ratio": 1.0,
    "repeats": 20,
    "epochs": 4,
    "batch_size": 1,
    "network_dim": 4,
    "trigger": "fip zor",
    "unet_lr": 3e-2,
}
"""At so high a rate the last epoch is not the most flexible one."""


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def each_epoch(monkeypatch):
    """It is read at each of LONG's epochs."""
    monkeypatch.setattr(watching, "SAMPLES_BETWEEN", 20)


def run(host, **changes):
    return list(distill(host, PICTURE, TAGS, options(**{**LONG, **changes})))


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.slow
@pytest.mark.usefixtures("each_epoch")
def test_an_earlier_epoch_becomes_the_lora_and_the_last_one_stays_beside_it(host):
    events = run(host, pick="flexible")
    readings = [measured.reading for measured in of(Measured, events)]
    best = max(range(4), key=lambda i: picker.worth(readings[i], "flexible"))
    assert best < 3
    files = {saved.path.stem: saved for saved in of(Saved, events)}
    assert sorted(files) == ["fip_zor", *(f"fip_zor-{n:06d}" for n in (1, 2, 3, 4))]
    assert (files["fip_zor"].step, files["fip_zor"].epoch) == (20 * (best + 1), best + 1)
    assert same(files["fip_zor"].path, files[f"fip_zor-{best + 1:06d}"].path)
    assert not same(files["fip_zor"].path, files["fip_zor-000004"].path)
    assert of(Done, events) == [Done(files["fip_zor"].path, events[-1].prompt, 80)]


@pytest.mark.slow
def test_meters_change_nothing_of_the_training(host, tmp_path):
    other = TinyHost(tmp_path / "other")
    with_them, without = run(host, epochs=2), run(other, epochs=2, meters=False)
    assert of(Measured, with_them)
    assert not of(Measured, without)
    assert of(Step, with_them) == of(Step, without)
    assert same(of(Saved, with_them)[-1].path, of(Saved, without)[-1].path)


def test_the_first_step_waits_for_no_meter(host):
    passes = []
    hook = host.models.unet.register_forward_hook(lambda *_: passes.append(1))
    try:
        events = distill(host, PICTURE, TAGS, options(**{**LONG, "epochs": 1}))
        next(event for event in events if isinstance(event, Step))
        assert len(passes) == 1
        assert any(isinstance(event, Measured) for event in events)
    finally:
        hook.remove()


@pytest.mark.slow
def test_they_are_not_read_more_often_than_is_cheap(host):
    measured = of(Measured, run(host, epochs=7))
    assert [(one.step, one.epoch) for one in measured] == [(40, 2), (80, 4), (140, 7)]


@pytest.mark.slow
def test_it_ends_when_nothing_is_gained(host):
    events = run(host, epochs=12, stop_early=True, pick="balanced", meters=False)
    last = of(Step, events)[-1]
    assert last.index < 240
    assert of(Noted, events) == [Noted(f"Nothing more was gained at step {last.index} of 240, so it ended there.")]
    assert of(Done, events)[0].stopped == ""


@pytest.mark.slow
@pytest.mark.usefixtures("each_epoch")
def test_going_on_after_a_kill_it_picks_the_same(host, tmp_path):
    whole = run(TinyHost(tmp_path / "whole" / "Lora"), pick="flexible")
    killed(host, distill(host, PICTURE, TAGS, options(**LONG, pick="flexible")), after=65)
    rest = list(distill(host, PICTURE, TAGS, options(**LONG, pick="flexible"), resume=True))
    assert of(Measured, rest) == of(Measured, whole)[3:]
    assert same(of(Saved, rest)[-1].path, of(Saved, whole)[-1].path)
    assert torch.equal(*(next(iter(tensors(of(Saved, events)[-1].path).values())) for events in (rest, whole)))
