"""A job whose process died goes on from its last whole epoch."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import JobError
from distill.jobs import Jobs
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
        shutil.copytree(jobs.host.work_dir, host.work_dir)
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
        kept = {path.name for path in (left.work_dir / "jobs" / job.id).iterdir()}
        assert kept == {"journal.json", "picture.png"}
    with pytest.raises(JobError, match="Nothing is kept"):
        again.resume(job.id)
    again.close()
