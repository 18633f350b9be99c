"""Checking captions in the background: one check at a time, and a training goes first."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from distill.errors import CheckpointError, JobError, PictureError
from distill.hosts.standalone import Standalone
from distill.jobs import grounding
from distill.jobs.grounding import Grounding, _kind_of
from distill.options import Options
from distill.pocket import CHECKPOINT
from distill.training.grounding import CONTROLS, ground
from tests.jobs.conftest import order
from tests.models.host import TinyHost
from tests.models.tiny import models as tiny_models

PORTRAIT = Path(__file__).parents[2] / "distill" / "pocket" / "portrait.png"

PICTURE = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
DRAWS = 2
TAGS = ["fip zor woman", "red hair", "zigzag pattern"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(grounding, "ground", partial(ground, draws=DRAWS))


def until(question, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not (answer := question()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)
    return answer


def start(jobs, tags=TAGS, picture=PICTURE, **changes):
    return jobs.words.start(picture, tags, Options.from_flat(changes))


def free(host):
    return host.lent == 0 and not host.queue_lock.locked()


def test_from_start_to_verdicts(host, jobs):
    assert jobs.words.snapshot() == Grounding()
    begun = start(jobs)
    assert begun.active
    done = jobs.words.wait(20)
    assert (done.state, done.error) == ("done", "")
    assert [verdict.tag for verdict in done.verdicts] == ["red hair", "zigzag pattern"]  # not trigger and class
    assert {verdict.verdict for verdict in done.verdicts} <= {"known", "weak", "unknown"}
    assert 0 < done.done <= done.total == (1 + len(CONTROLS) + 2) * DRAWS
    assert free(host)
    steps = [(step, total) for step, total, text in host.reports if "“zigzag pattern”" in text]
    assert steps
    assert steps[-1] == (done.done, done.total)


def test_what_is_known_is_told_at_once_and_only_new_captions_are_measured(host, jobs):
    start(jobs)
    first = jobs.words.wait(20)
    again = start(jobs, ["woman", "zigzag pattern", "red hair"])
    assert again.state == "done"
    assert again.verdicts == first.verdicts[::-1]
    assert len(host.turns) == 1
    more = start(jobs, [*TAGS, "smile"])
    assert [verdict.tag for verdict in more.verdicts] == ["red hair", "zigzag pattern"]
    more = jobs.words.wait(20)
    assert more.total == (1 + len(CONTROLS) + 1) * DRAWS
    assert [verdict.tag for verdict in more.verdicts] == ["red hair", "zigzag pattern", "smile"]
    assert start(jobs, clip_skip=2).active  # another reading of the words
    assert start(jobs, picture=PICTURE.transpose(Image.Transpose.ROTATE_180)).active


def test_the_same_captions_get_the_same_verdicts_and_few_are_remembered(host, jobs, monkeypatch):
    monkeypatch.setattr(grounding, "KEPT", 2)
    start(jobs)
    first = jobs.words.wait(20)
    start(jobs, ["woman", "smile"])
    jobs.words.wait(20)
    assert start(jobs).active
    assert jobs.words.wait(20).verdicts == first.verdicts


def test_nothing_to_check_is_done(host, jobs):
    assert start(jobs, ["fip zor woman"]).state == "done"
    assert start(jobs, []).state == "done"
    assert host.turns == []


def test_cancelled_within_a_pass_and_everything_given_back(host, jobs):
    start(jobs, [f"thing {i}" for i in range(200)])
    until(lambda: jobs.words.snapshot().done)
    cancelled = jobs.words.cancel()
    assert cancelled.state == "cancelled"
    assert jobs.words.wait(20) == cancelled
    assert free(host)
    assert jobs.words.cancel() == cancelled


def test_cancelled_while_it_waits_it_never_borrows(host, jobs):
    with host.queue_lock:
        assert start(jobs).state == "waiting"
        assert jobs.words.cancel().state == "cancelled"
    assert jobs.words.wait(20).state == "cancelled"
    assert host.reports == []


def test_the_hosts_interrupt_cancels(host, jobs):
    start(jobs, [f"thing {i}" for i in range(200)])
    until(lambda: jobs.words.snapshot().done)
    host.interrupt.set()
    assert jobs.words.wait(20).state == "cancelled"
    assert free(host)


@pytest.mark.slow
def test_a_training_goes_first(host, jobs):
    start(jobs, [f"thing {i}" for i in range(200)])
    until(lambda: jobs.words.snapshot().done)
    job = jobs.submit(order(repeats=1, epochs=1))
    assert jobs.words.snapshot().state == "cancelled"
    assert "training" in jobs.words.snapshot().text
    with pytest.raises(JobError, match="being trained"):
        start(jobs)
    assert jobs.wait(job.id, 30).state == "done"
    assert start(jobs).active


def test_a_new_check_takes_the_place_of_the_old_one(host, jobs):
    start(jobs, [f"thing {i}" for i in range(200)])
    until(lambda: jobs.words.snapshot().done)
    start(jobs)
    done = jobs.words.wait(20)
    assert done.state == "done"
    assert [verdict.tag for verdict in done.verdicts] == ["red hair", "zigzag pattern"]
    assert free(host)


def test_what_can_be_told_at_once_is_an_error(host, jobs):
    host.problem = "This is SDXL. Choose an SD1.5 checkpoint."
    with pytest.raises(CheckpointError, match="SDXL"):
        start(jobs)
    host.problem = ""
    with pytest.raises(PictureError):
        start(jobs, picture=Image.new("RGB", (8, 8)))
    assert jobs.words.snapshot() == Grounding()


def test_what_breaks_later_is_told_with_a_hint(tmp_path, jobs):
    host = TinyHost(tmp_path / "other")
    host.models = tiny_models()
    host.models.unet.conv_out.bias.data.fill_(float("inf"))
    words = grounding.Words(host, lambda: False)
    words.start(PICTURE, TAGS, Options())
    failed = words.wait(20)
    assert failed.state == "failed"
    assert "not finite" in failed.error
    assert failed.hint
    assert host.queue_lock.acquire(timeout=1)


def test_closing_ends_it(host, jobs):
    start(jobs, [f"thing {i}" for i in range(200)])
    until(lambda: jobs.words.snapshot().done)
    jobs.close()
    assert jobs.words.snapshot().state == "cancelled"
    assert free(host)
    assert not any(thread.name == "distill-words" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("tag", "paired"),
    [("zigzag pattern", "zigzag pattern sweater"), ("spiky hair", ""), ("blorp", ""), ("smirk", "smirk expression")],
)
def test_unknown_words_are_paired_with_a_known_one_of_their_kind(tag, paired):
    assert _kind_of(tag) == paired


@pytest.mark.slow
def test_what_a_captioner_saw_makes_the_verdict_on_few_captions_surer(tmp_path, monkeypatch):
    monkeypatch.setattr(grounding, "ground", ground)  # with all its draws
    host = Standalone(CHECKPOINT, lora_dir=tmp_path, device="cpu")
    words = grounding.Words(host, lambda: False)
    picture = Image.open(PORTRAIT).convert("RGB")
    seen = [
        "long red hair",
        "blue sweater",
        "earrings",
        "holding red apple",
        "upper body",
        "window",
        "yellow background",
    ]
    scores = []
    for context in ((), seen):
        words.start(picture, ["woman", "green eyes", "smile"], Options(), context)
        scores.append({verdict.tag: verdict for verdict in words.wait(120).verdicts})
    alone, beside = scores
    assert beside["smile"].verdict == beside["green eyes"].verdict == "known"
    assert beside["smile"].score > alone["smile"].score + 0.3
