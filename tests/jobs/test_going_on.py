"""A job whose process died goes on from its last whole epoch."""

import json
import shutil
import time
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import CheckpointError, JobError
from distill.jobs import Jobs, orders
from distill.plan import Plan, Shot, View
from tests.jobs.conftest import order
from tests.models.host import TinyHost

NOBODY = 2**22 + 1  # no process has such a number


def tensors(path):
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def same(one, other):
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def cut_off_at(jobs, job_id, step, into):
    """A host with what a kill after that step would leave behind."""
    host = TinyHost(into / "Lora")
    with jobs._changed:  # the job notes its next step only when we are done
        jobs._changed.wait_for(lambda: jobs.get(job_id).step >= step or not jobs.get(job_id).active, 60)
        assert jobs.get(job_id).step == step
        shutil.copytree(jobs.host.lora_dir, host.lora_dir)
        unfinished = shutil.ignore_patterns("*.part")  # what the job writes just now comes and goes while we copy
        shutil.copytree(jobs.host.work_dir, host.work_dir, ignore=unfinished)
    for path in (host.work_dir / "jobs" / job_id / "journal.json", host.work_dir / "states" / job_id / "state.json"):
        if path.is_file():
            path.write_text(json.dumps({**json.loads(path.read_text()), "pid": NOBODY}))
    journal = host.work_dir / "jobs" / job_id / "journal.json"
    values = json.loads(journal.read_text())
    values["lora_dirs"] = [str(host.lora_dir)]
    journal.write_text(json.dumps(values))
    return host


def full_order(**changes):
    """With everything that an order can have beside the picture."""
    mask = Image.linear_gradient("L").resize((96, 128))
    views = (View(name="face", box=(0.1, 0.1, 0.9, 0.8), words=("close-up",), repeats=2),)
    other = Shot(source=order().picture.rotate(180), tags=("woman", "smile"), plan=Plan(mask=mask, repeats=1))
    return replace(order(**changes), plan=Plan(views=views, mask=mask, more=(other,)))


@pytest.fixture
def cut(host, jobs, tmp_path):
    """(the job as it ended uncut, a host where it was cut off at its fifth step of six)."""
    job = jobs.submit(full_order(sample_every=1, view_min_px=64, upscaler="lanczos"))
    left = cut_off_at(jobs, job.id, 5, tmp_path / "cut")
    return jobs.wait(job.id, 60), left


def test_it_goes_on_to_the_same_lora(cut, jobs):
    whole, host = cut
    again = Jobs(host)
    (job,) = again.cut_off()
    assert again.can_resume(job)
    went_on = again.resume(job.id)
    assert (went_on.id, went_on.active, again.cut_off()) == (job.id, True, ())
    done = again.wait(job.id, 60)
    assert (done.state, done.name, done.losses) == ("done", whole.name, whole.losses)
    assert [saved.path.name for saved in done.saved] == [saved.path.name for saved in whole.saved]
    assert [saved.preview is None for saved in done.saved] == [saved.preview is None for saved in whole.saved]
    assert all(same(a.path, b.path) for a, b in zip(done.saved, whole.saved))
    assert done.notes == whole.notes
    for left in (host, jobs.host):
        assert not list((left.work_dir / "states").iterdir())
        folder, until = left.work_dir / "jobs" / job.id, time.monotonic() + 10
        while (kept := {path.name for path in folder.iterdir()}) != {"journal.json", "picture.png"}:
            assert time.monotonic() < until, kept  # the end is told first, its journal is written then
            time.sleep(0.05)
    with pytest.raises(JobError, match="Nothing is kept"):
        again.resume(job.id)
    again.close()


@pytest.mark.slow
def test_a_job_that_failed_goes_on_when_its_reason_is_gone(host, jobs):
    def in_the_way():
        return host.lora_dir / "fip_zor-000002.safetensors"

    job = jobs.submit(order(epochs=4))
    with jobs._changed:
        jobs._changed.wait_for(lambda: jobs.get(job.id).saved, 60)
        in_the_way().write_bytes(b"somebody's")
    failed = jobs.wait(job.id, 60)
    assert (failed.state, [saved.epoch for saved in failed.saved]) == ("failed", [1])
    until = time.monotonic() + 10
    while jobs.cut_off() != (failed,):  # the journal is written a moment later
        assert time.monotonic() < until
        time.sleep(0.01)
    in_the_way().unlink()
    jobs.resume(job.id)
    done = jobs.wait(job.id, 60)
    assert (done.state, done.error, len(done.losses)) == ("done", "", 8)
    assert [saved.epoch for saved in done.saved] == [1, 2, 3, 4]


@pytest.mark.slow
def test_not_on_another_checkpoint_and_not_once_it_is_dismissed(cut):
    _, host = cut
    again, others = Jobs(host), TinyHost(host.lora_dir)
    (job,) = again.cut_off()
    others.models = replace(host.models, name="other")
    with pytest.raises(CheckpointError, match="This job trains on tiny, and other is loaded"):
        Jobs(others).resume(job.id)
    assert again.cut_off() == (job,)
    again.dismiss(job.id)
    assert not again.can_resume(job)
    assert not list((host.work_dir / "states").iterdir())
    with pytest.raises(JobError, match="Nothing is kept"):
        again.resume(job.id)
    assert all(saved.path.is_file() for saved in again.get(job.id).saved)


def test_a_damaged_order_is_no_order(tmp_path, host):
    folder = tmp_path / "job"
    folder.mkdir()
    given, picture = full_order(), folder / "picture.png"
    given.picture.save(picture)
    orders.write(folder, given)
    read = orders.read(folder, picture)
    assert (read.tags, read.options, read.plan.views) == (given.tags, given.options, given.plan.views)
    assert read.plan.mask.tobytes() == given.plan.mask.tobytes()
    assert read.plan.more[0].source.tobytes() == given.plan.more[0].source.tobytes()
    assert read.plan.more[0].plan.repeats == 1
    (folder / "mask-0.png").write_bytes(b"")
    assert orders.read(folder, picture) is None
    orders.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["picture.png"]
