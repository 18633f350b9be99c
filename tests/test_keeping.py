"""A training's state is written beside the training: by a real thread, on a disk that is slow."""

import threading
import time
from contextlib import nullcontext

import pytest

from distill.errors import OutputError
from distill.events import Sampled
from distill.output import states
from distill.pipeline import distill
from distill.training.loop import Step
from tests.models.host import TinyHost
from tests.test_resume import PICTURE, TAGS, killed, losses, options, same

EPOCH = 3  # steps
WAIT_S = 30


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def slow(monkeypatch):
    """What the steps change meanwhile must not be seen in what is written."""
    write = states.write
    monkeypatch.setattr(states, "write", lambda *args: (time.sleep(0.5), write(*args)))


def writers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("distill-writer")]


def test_the_epochs_picture_is_made_meanwhile(host, monkeypatch):
    write, sampled, waited = states.write, threading.Event(), []
    monkeypatch.setattr(states, "write", lambda *args: (waited.append(sampled.wait(WAIT_S)), write(*args)))
    for event in distill(host, PICTURE, TAGS, options(sample_every=1)):
        if isinstance(event, Sampled):
            assert not states.every(host.work_dir) or event.step > EPOCH
            sampled.set()
        if isinstance(event, Step) and event.index > EPOCH:
            assert states.every(host.work_dir)[0].values["step"] >= event.index - EPOCH, "whole once a step is told"
    assert waited == [True, True]


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("changes", [{}, pytest.param({"ema_decay": 0.5, "optimizer": "lion"}, marks=pytest.mark.slow)])
def test_it_is_the_state_of_its_epoch(host, tmp_path, changes):
    """A picture with other weights and a step come before it is on the disk; going on is exact nevertheless."""
    whole = TinyHost(tmp_path / "whole" / "Lora")
    changes = {**changes, "sample_every": 1}
    unbroken = list(distill(whole, PICTURE, TAGS, options(**changes)))
    killed(host, distill(host, PICTURE, TAGS, options(**changes)), after=EPOCH + 1)
    rest = list(distill(host, PICTURE, TAGS, options(**changes), resume=True))
    assert losses(rest) == {step: loss for step, loss in losses(unbroken).items() if step > EPOCH}
    assert same(unbroken[-1].path, rest[-1].path)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("how", ["discarded", "failed"])
def test_every_way_out_waits_for_it(host, how, monkeypatch):
    """Nothing is written behind the back of whoever comes next; after a failure the state is there to go on from."""
    if how == "failed":
        monkeypatch.setattr("distill.output.lora_file.verify", broken)
    events, sampled = distill(host, PICTURE, TAGS, options(sample_every=1)), []
    with pytest.raises(OutputError, match="read back") if how == "failed" else nullcontext():
        for event in events:
            if isinstance(event, Sampled):
                sampled.append(event)
                assert writers()
                events.close()
    assert len(sampled) == (how == "discarded")
    assert not writers()
    assert len(states.every(host.work_dir)) == (how == "failed")
    assert host.lent == 0


def broken(path, lora):
    raise OutputError(f"{path} can't be read back.", "")
