"""What outlives a process, killed ones first."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from distill.errors import JobError
from distill.jobs import Job, Jobs
from distill.jobs.journal import KEPT, Journal
from tests.jobs.conftest import order
from tests.models.host import TinyHost

ROOT = Path(__file__).resolve().parents[2]
TRAIN = """
import sys, time
from pathlib import Path
import torch; torch.set_num_threads(1)
from distill.jobs import Jobs
from tests.jobs.conftest import order
from tests.models.host import TinyHost
host = TinyHost(Path(sys.argv[1]))
jobs = Jobs(host)
job = jobs.submit(order(repeats=3, epochs=100))
while len(Jobs(host).get(job.id).saved) < 2:  # as the journal has it
    time.sleep(0.05)
print(job.id, flush=True)
jobs.wait(job.id, 60)
"""


@pytest.fixture
def training(tmp_path):
    """Another process that trains, with two epochs saved: (process, the job's id)."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path / "Lora")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_after_a_kill_the_next_start_says_what_was_cut_off_and_what_is_kept(tmp_path, training):
    process, job_id = training
    host = TinyHost(tmp_path / "Lora")
    jobs = Jobs(host)
    assert jobs.get(job_id).active
    assert jobs.cut_off() == ()  # it runs, in another process
    assert jobs.all() == ()
    with pytest.raises(JobError, match="another running program"):
        jobs.stop(job_id)
    process.kill()
    process.wait()
    (job,) = jobs.cut_off()
    assert (job.id, job.state) == (job_id, "cut_off")
    kept = [saved.path.stem for saved in job.saved]
    assert kept[:2] == ["fip_zor-000001", "fip_zor-000002"]
    assert all(saved.path.is_file() for saved in job.saved)
    assert job.text == f"The program ended at step {job.step} of 300. Kept: {', '.join(kept)}."
    assert 6 <= job.step < 300
    assert jobs.picture(job_id).is_file()
    assert jobs.all() == (job,)
    assert jobs.latest() is None
    job.saved[0].path.unlink()
    assert [saved.path.stem for saved in jobs.cut_off()[0].saved] == kept[1:]
    jobs.dismiss(job_id)
    assert jobs.cut_off() == Jobs(host).cut_off() == ()
    assert Jobs(host).get(job_id).state == "cut_off"
    done = jobs.wait(jobs.submit(order()).id, 30)
    assert done.name == "fip_zor-2"  # the names of what was kept are not used again
    jobs.discard(job_id)
    assert not job.saved[1].path.exists()
    assert all(saved.path.exists() for saved in done.saved)
    jobs.close()


def test_ended_jobs_are_the_same_after_a_restart(host, jobs):
    done = jobs.wait(jobs.submit(order()).id, 30)
    jobs.close()
    assert Jobs(host).get(done.id) == done
    assert Jobs(host).all() == (done,)
    assert Jobs(host).cut_off() == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\x00\xff",
        '{"job": 3, "lora_dirs": [], "pid": 1, "process_started_s": 0, "dismissed": false}',
        "[" * 100_000,
    ],
)
def test_a_damaged_journal_is_left_out_with_a_note(host, text, caplog):
    whole = Job(id="distill-1", state="done")
    Journal(host.work_dir / "jobs").begin(whole, order().picture)
    folder = host.work_dir / "jobs" / "distill-0123456789ab"
    folder.mkdir()
    (folder / "journal.json").write_text(text, "latin-1")
    again = Jobs(host)
    assert again.all() == (whole,)
    assert "distill-0123456789ab" in caplog.text
    with pytest.raises(JobError):
        again.get(folder.name)


def test_a_value_of_the_wrong_kind_is_damage_too(host, jobs):
    done = jobs.wait(jobs.submit(order()).id, 30)
    jobs.close()
    path = host.work_dir / "jobs" / done.id / "journal.json"
    values = json.loads(path.read_text())
    for name, value in {"state": "dancing", "text": 3, "step": "x", "saved": [{}], "losses": ["a"]}.items():
        path.write_text(json.dumps({**values, "job": {**values["job"], name: value}}))
        assert Jobs(host).all() == (), name
    path.write_text(json.dumps({**values, "job": {**values["job"], "options": {"of_another_version": 1}}}))
    assert Jobs(host).get(done.id).saved == done.saved


def test_only_the_newest_jobs_are_kept_and_only_our_folders_go(host):
    journal, picture = Journal(host.work_dir / "jobs"), order().picture
    for n in range(KEPT + 3):
        job = Job(id=f"distill-{n:03d}", state="done", created_at=f"2026-01-01T00:00:{n:02d}")
        journal.begin(job, picture)
        os.utime(journal.folder / job.id / "journal.json", (1_000_000 + n, 1_000_000 + n))
    (journal.folder / "mine").mkdir()
    (journal.folder / "mine" / "notes.txt").write_text("somebody's")
    os.utime(journal.folder / "mine", (1, 1))
    journal.begin(Job(id="distill-last", created_at="2026-01-02"), picture)
    names = {folder.name for folder in journal.folder.iterdir()}
    assert (journal.folder / "mine" / "notes.txt").is_file()
    assert {"distill-last", f"distill-{KEPT + 2:03d}"} <= names
    assert not {"distill-000", "distill-003"} & names
    assert len(names) <= KEPT + 1


def test_ids_are_no_paths(host):
    journal = Journal(host.work_dir / "jobs")
    journal.begin(Job(id="distill-1", state="done"), order().picture)
    assert journal.read("../jobs/distill-1") is None
    assert journal.picture("../jobs/distill-1") is None
    assert journal.read("distill-1") is not None


def test_a_process_number_that_was_given_again_is_another_process(host):
    journal = Journal(host.work_dir / "jobs")
    journal.begin(Job(id="distill-1", state="running", step=3, total=9), order().picture)
    entry = journal.read("distill-1")
    assert entry.alive
    assert entry.ended is None
    earlier = replace(entry, process_started_s=time.time() - 10_000)
    assert not earlier.alive
    assert earlier.ended.text == "The program ended at step 3 of 9. Nothing had been saved."
