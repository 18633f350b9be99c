"""Looking into a LoRA in the background: one at a time, a training goes first, and the model comes back."""

import time

import pytest

from distill.errors import CheckpointError, JobError
from distill.jobs.residue import Search, asked_of
from distill.options import CaptionOptions
from tests.jobs.conftest import order


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("distill.residue.STEPS", 1)
    monkeypatch.setattr("distill.residue.PICTURES", 1)


@pytest.fixture
def asked(jobs):
    job = jobs.wait(jobs.submit(order(repeats=1, epochs=1, lr_warmup=0.0)).id, 30)
    assert job.state == "done"
    return asked_of(job, jobs.picture(job.id), "", jobs.host.loaded().native_px, CaptionOptions(captioner="none"))


def test_from_start_to_the_end(host, jobs, asked):
    question, options = asked
    assert question.called == "fip zor woman"
    assert question.captions == ("red hair",)
    assert options.caption.captioner == "none"
    assert jobs.residue.snapshot() == Search()
    host.reports.clear()
    assert jobs.residue.start(question, options).active
    done = jobs.residue.wait(30)
    assert (done.state, done.error, done.lora) == ("done", "", "fip_zor")
    assert len(done.found.pictures) == 2
    assert host.reports[0][:2] == (0, 4)
    assert host.lent == 0
    assert not host.queue_lock.locked()


@pytest.mark.slow
def test_it_is_stopped_and_one_at_a_time(host, jobs, asked):
    with host.queue_lock:
        assert jobs.residue.start(*asked).state == "waiting"
        with pytest.raises(JobError, match="already"):
            jobs.residue.start(*asked)
        jobs.residue.cancel()
        assert jobs.residue.snapshot().state == "cancelled"
    assert jobs.residue.wait(20).state == "cancelled"
    assert jobs.residue.start(*asked).active


@pytest.mark.slow
def test_the_hosts_interrupt_ends_it(host, jobs, asked, monkeypatch):
    monkeypatch.setattr("distill.residue.STEPS", 100)
    jobs.residue.start(*asked)
    end = time.monotonic() + 20
    while not jobs.residue.snapshot().total:
        assert time.monotonic() < end
        time.sleep(0.002)
    host.interrupt.set()
    assert jobs.residue.wait(20).state == "cancelled"
    assert host.lent == 0


@pytest.mark.slow
def test_a_training_goes_first(host, jobs, asked, monkeypatch):
    monkeypatch.setattr("distill.residue.STEPS", 100)
    jobs.residue.start(*asked)
    job = jobs.submit(order(repeats=1, epochs=1))
    assert "training" in jobs.residue.snapshot().text
    with pytest.raises(JobError, match="being trained"):
        jobs.residue.start(*asked)
    jobs.discard(job.id)


def test_what_can_be_told_at_once_is_an_error_and_what_breaks_later_is_told(host, jobs, asked):
    question, options = asked
    host.problem = "This is SDXL. Choose an SD1.5 checkpoint."
    with pytest.raises(CheckpointError, match="SDXL"):
        jobs.residue.start(question, options)
    host.problem = ""
    question.lora.write_bytes(b"this is no LoRA")
    jobs.residue.start(question, options)
    failed = jobs.residue.wait(20)
    assert failed.state == "failed"
    assert failed.error
    assert not host.queue_lock.locked()
    job = jobs.latest()
    with pytest.raises(JobError, match="picture"):
        asked_of(job, None, "", 64, CaptionOptions())
    question.lora.unlink()
    with pytest.raises(JobError, match="not there any more"):
        asked_of(job, jobs.picture(job.id), "", 64, CaptionOptions())
