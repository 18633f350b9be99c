"""A picture is encoded while its captions are written, and never in anybody's way."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from PIL import Image
from safetensors.torch import load_file

from distill.host import Loaded
from distill.options import Options
from distill.training import encode
from distill.training.encoded import Memory
from tests.jobs.conftest import QUICK, order

PICTURE = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
OTHER = PICTURE.rotate(180)


@pytest.fixture
def encoded(host, monkeypatch):
    """The pictures that went through the VAE, in nobody's memory yet."""
    host.models = replace(host.models, sha256="of a file")  # else nothing is remembered
    monkeypatch.setattr(encode, "MEMORY", Memory())
    made, posterior = [], encode._posterior

    def noted(models, image, flip):
        made.append((image.tobytes(), flip))
        return posterior(models, image, flip)

    monkeypatch.setattr(encode, "_posterior", noted)
    return made


@contextmanager
def host_at_work(host):
    with host.queue_lock:
        yield


def options(**changes):
    return Options.from_flat({**QUICK, "preview": False, "sample_every": 0, **changes})


def trained(jobs, **changes):
    job = jobs.wait(jobs.submit(order(**changes)).id, 60)
    assert job.state == "done", job.text
    return job


def weights(job):
    return {name: tensor.tolist() for name, tensor in load_file(job.saved[-1].path).items()}


OTHERS = ({"crop": "aspect"}, {"resolution": 64})


@pytest.mark.parametrize("changes", [{"flip": True}, *(pytest.param(o, marks=pytest.mark.slow) for o in OTHERS)])
def test_the_training_after_it_encodes_nothing_and_makes_the_same(host, jobs, encoded, changes):
    alone = trained(jobs, **changes)
    assert len(encoded) == 1
    encode.MEMORY = Memory()
    jobs.ahead.start(order().picture, options(**changes))
    assert jobs.ahead.wait(20)
    assert host.lent == 0
    assert not host.queue_lock.locked()
    assert encoded == encoded[:1] * 2  # the very picture that is trained on
    after = trained(jobs, **changes)
    assert len(encoded) == 2
    assert weights(after) == weights(alone)
    assert after.losses == alone.losses


def test_the_newest_picture_counts(host, jobs, encoded):
    with host_at_work(host):
        jobs.ahead.start(OTHER, options())
        jobs.ahead.start(PICTURE, options())
        assert not jobs.ahead.wait(0.05)
    assert jobs.ahead.wait(20)
    assert len(encoded) == 1
    trained(jobs)
    assert len(encoded) == 1


@pytest.mark.slow
def test_one_picture_after_another(jobs, encoded):
    jobs.ahead.start(OTHER, options())
    assert jobs.ahead.wait(20)
    jobs.ahead.start(PICTURE, options())
    assert jobs.ahead.wait(20)
    assert len(encoded) == 2


def test_a_training_does_not_wait_for_it(host, jobs, encoded):
    with host_at_work(host):
        jobs.ahead.start(OTHER, options())
        job = jobs.submit(order())
    assert jobs.wait(job.id, 60).state == "done"
    assert jobs.ahead.wait(20)
    assert len(encoded) == 1  # the training's own


@pytest.mark.slow
def test_it_does_not_begin_while_a_lora_is_trained(host, jobs, encoded):
    with host_at_work(host):
        job = jobs.submit(order())
        jobs.ahead.start(OTHER, options())
        assert jobs.ahead.wait(0)
    jobs.wait(job.id, 60)
    assert len(encoded) == 1


@pytest.mark.parametrize("changes", [{"encode_ahead": False}, {"upscaler": "lanczos"}, {"mask": "remover"}])
def test_where_it_is_not_wanted_or_slow(host, jobs, encoded, changes):
    jobs.ahead.start(PICTURE, options(**changes))
    assert jobs.ahead.wait(0)
    assert (host.turns, encoded) == ([], [])


@pytest.mark.parametrize("about", [{"at_hand": False}, {"problem": "It is an SDXL checkpoint."}])
def test_nothing_is_loaded_for_it(host, jobs, encoded, monkeypatch, about):
    loaded: Loaded = host.loaded()
    monkeypatch.setattr(host, "loaded", lambda: replace(loaded, **about))
    jobs.ahead.start(PICTURE, options())
    assert jobs.ahead.wait(0)
    assert (host.turns, encoded) == ([], [])


def test_another_checkpoint_was_chosen_while_it_waited(host, jobs, encoded, monkeypatch):
    loaded: Loaded = host.loaded()
    with host_at_work(host):
        jobs.ahead.start(PICTURE, options())
        monkeypatch.setattr(host, "loaded", lambda: replace(loaded, at_hand=False))
    assert jobs.ahead.wait(20)
    assert encoded == []


def test_what_breaks_is_for_the_training_to_tell(host, jobs, encoded, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(encode, "_posterior", broken)
    jobs.ahead.start(PICTURE, options())
    assert jobs.ahead.wait(20)
    assert host.lent == 0
    assert not host.queue_lock.locked()
    monkeypatch.undo()
    assert jobs.wait(jobs.submit(order()).id, 60).state == "done"


def test_closing_waits_for_it(host, jobs, encoded):
    jobs.ahead.start(PICTURE, options())
    jobs.close()
    assert jobs.ahead.wait(0)
    assert host.lent == 0
    assert not host.queue_lock.locked()
