"""The worker: a real thread, real training, and every way that a job can end."""

import gc
import os
import threading
import time

import pytest
from PIL import Image

import distill.jobs
from distill.errors import CaptionError, CheckpointError, JobError, OutputError, PictureError
from distill.jobs import Jobs, Order, line, shared_jobs
from distill.options import CaptionOptions
from tests.jobs.conftest import order
from tests.models.host import TinyHost

LONG = {"repeats": 500, "epochs": 2}  # longer than any of these tests waits


def until(question, timeout_s=20.0):
    """Wait until `question()` is true, and return what it said."""
    end = time.monotonic() + timeout_s
    while not (answer := question()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)
    return answer


def files(host):
    return sorted(path.name for path in host.lora_dir.glob("*"))


def test_a_job_from_its_order_to_its_files(host, jobs):
    job = jobs.submit(order(preview=True, sample_every=1))
    assert job.active
    assert jobs.latest().id == job.id
    done = jobs.wait(job.id, 30)
    assert (done.state, done.name, done.step, done.total) == ("done", "fip_zor", 6, 6)
    assert done.prompt == "fip zor woman, red hair, <lora:fip_zor:0.6>"
    assert [(saved.path.name, saved.step, saved.epoch) for saved in done.saved] == [
        ("fip_zor-000001.safetensors", 2, 1),
        ("fip_zor-000002.safetensors", 4, 2),
        ("fip_zor.safetensors", 6, 3),
    ]
    assert all(saved.path.is_file() and saved.preview.is_file() for saved in done.saved)
    assert len(done.losses) == 6
    assert done.size_px == (64, 64)
    assert done.tags == ("fip zor woman", "red hair")
    assert 0 < done.seconds < 30
    assert host.lent == 0
    assert host.lists_read >= 3  # after each save
    assert [step for step, total, text in host.reports if text.startswith("Step")] == [1, 2, 3, 4, 5, 6]
    assert host.turns == [job.id]
    assert Image.open(jobs.picture(job.id)).size == (96, 128)
    assert jobs.latest() == done


def test_one_after_the_other(host, jobs):
    with host.queue_lock:
        first, second = jobs.submit(order()), jobs.submit(order())
        assert jobs.get(second.id).state == "queued"
        assert jobs.latest().id == first.id
    assert jobs.wait(second.id, 30).name == "fip_zor-2"
    assert jobs.get(first.id).state == "done"
    assert host.turns == [first.id, second.id]
    assert [job.id for job in jobs.all()] == [second.id, first.id]


def test_it_says_that_it_waits_for_the_host(host, jobs):
    with host.queue_lock:
        job = jobs.submit(order())
        waiting = until(lambda: (now := jobs.get(job.id)).state == "waiting" and now)
        assert waiting.text == "Waits until the picture that is being made is done."
        assert jobs.wait(job.id, 0.05).state == "waiting"
    assert jobs.wait(job.id, 30).state == "done"


@pytest.mark.parametrize(
    ("end", "state"), [("stop", "stopped"), pytest.param("discard", "discarded", marks=pytest.mark.slow)]
)
def test_what_has_not_begun_ends_at_once_and_never_trains(host, jobs, end, state):
    with host.queue_lock:
        first, second = jobs.submit(order()), jobs.submit(order())
        until(lambda: jobs.get(first.id).state == "waiting")
        assert getattr(jobs, end)(first.id).state == state
        assert getattr(jobs, end)(second.id).state == state
        last = jobs.submit(order())
    assert jobs.wait(last.id, 30).state == "done"
    assert [saved.path.stem for saved in jobs.get(last.id).saved][-1] == "fip_zor"  # no one else took the name
    assert jobs.get(first.id).saved == jobs.get(second.id).saved == ()


def test_stop_keeps_what_is_trained_within_two_steps(host, jobs):
    job = jobs.submit(order(**LONG))
    until(lambda: jobs.get(job.id).step >= 2)
    asked_at = jobs.stop(job.id).step
    stopped = jobs.wait(job.id, 30)
    assert stopped.state == "stopped"
    assert stopped.step <= asked_at + 2
    assert stopped.text == f"Stopped at step {stopped.step} of 1000."
    assert (stopped.error, stopped.saved[-1].path.name) == ("", "fip_zor.safetensors")
    assert stopped.prompt.endswith("<lora:fip_zor:0.6>")
    assert jobs.stop(job.id) == stopped  # once more changes nothing
    assert host.lent == 0


def test_the_hosts_own_interrupt_stops_within_two_steps(host, jobs):
    job = jobs.submit(order(**LONG))
    at = until(lambda: jobs.get(job.id).step)
    host.interrupt.set()
    stopped = jobs.wait(job.id, 30)
    assert stopped.state == "stopped"
    assert stopped.step <= at + 2
    assert stopped.error == ""


@pytest.mark.slow
def test_discard_deletes_what_it_made_and_nothing_else(host, jobs):
    kept = jobs.wait(jobs.submit(order(preview=True)).id, 30)
    (host.lora_dir / "fip_zor-2-mine.safetensors").write_bytes(b"somebody's")
    before = files(host)
    job = jobs.submit(order(repeats=2, epochs=100, sample_every=1))
    until(lambda: len(jobs.get(job.id).saved) >= 2 and jobs.get(job.id).saved[0].preview)
    assert len(files(host)) > len(before)
    jobs.discard(job.id)
    gone = jobs.wait(job.id, 30)
    assert (gone.state, gone.saved, gone.prompt) == ("discarded", (), "")
    assert files(host) == before
    assert jobs.discard(kept.id).state == "discarded"  # a finished one too
    assert files(host) == ["fip_zor-2-mine.safetensors"]
    assert host.lent == 0


@pytest.mark.slow
def test_discard_leaves_a_later_lora_that_got_the_name(host, jobs):
    first = jobs.wait(jobs.submit(order(keep_epochs=False)).id, 30)
    for name in files(host):
        (host.lora_dir / name).unlink()
    second = jobs.wait(jobs.submit(order(keep_epochs=False)).id, 30)
    os.utime(second.saved[-1].path, (time.time() + 60,) * 2)  # file systems may tell times 2 s apart only
    assert second.name == first.name
    assert jobs.discard(first.id).state == "discarded"
    assert second.saved[-1].path.is_file()


def test_what_can_be_told_at_once_is_an_error_and_no_job(host, jobs):
    host.problem = "This is SDXL. Choose an SD1.5 checkpoint."
    with pytest.raises(CheckpointError, match="SDXL"):
        jobs.submit(order())
    host.problem = ""
    with pytest.raises(CaptionError, match="slash"):
        jobs.submit(order(name="../x"))
    small = Order(picture=Image.new("RGB", (8, 8)), tags=(), options=order().options)
    with pytest.raises(PictureError, match="8 x 8"):
        jobs.submit(small)
    host.lora_dir.parent.joinpath("Lora").write_text("a file")
    with pytest.raises(OutputError, match="not a folder"):
        jobs.submit(order())
    with pytest.raises(JobError):
        jobs.get("distill-none")
    assert jobs.all() == ()
    assert jobs.latest() is None
    assert not host.work_dir.exists()


def test_an_error_ends_its_job_and_the_next_one_goes_on(host, jobs, monkeypatch, caplog):
    def broken():
        raise ZeroDivisionError("a bug of somebody's")

    with host.queue_lock:
        monkeypatch.setattr(host, "borrow", broken)
        foreign = jobs.submit(order())
    failed = jobs.wait(foreign.id, 30)
    assert (failed.state, failed.error) == ("failed", "Unexpected error: ZeroDivisionError: a bug of somebody's")
    assert "Traceback" in caplog.text
    monkeypatch.undo()
    ours = jobs.wait(jobs.submit(order(trigger="a, b")).id, 30)
    assert (ours.state, ours.error) == ("failed", "The trigger 'a, b' has a comma.")
    assert ours.hint
    assert jobs.wait(jobs.submit(order()).id, 30).state == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    "end", [SystemExit, *(pytest.param(end, marks=pytest.mark.slow) for end in (KeyboardInterrupt, MemoryError))]
)
def test_nothing_ends_the_worker(host, jobs, monkeypatch, end):
    monkeypatch.setattr(host, "loras_changed", lambda: (_ for _ in ()).throw(end()))
    failed = jobs.wait(jobs.submit(order()).id, 30)
    assert failed.state == "failed"
    assert failed.saved[0].path.is_file()  # what was saved before stays
    monkeypatch.undo()
    assert jobs.wait(jobs.submit(order()).id, 30).state == "done"


def test_training_that_breaks_off_keeps_the_epoch_and_says_why(host, jobs, monkeypatch):
    def poison():
        for name, parameter in host.models.unet.named_parameters():
            if "lora_B" in name:
                parameter.data.fill_(float("nan"))

    monkeypatch.setattr(host, "loras_changed", poison)
    job = jobs.wait(jobs.submit(order()).id, 30)
    assert job.state == "stopped"
    assert job.error.startswith("The loss is not a finite number at step 3. Epoch 1 is saved.")
    assert [saved.path.stem for saved in job.saved] == ["fip_zor-000001", "fip_zor"]


def test_without_a_work_folder_it_trains_and_says_so(host, jobs):
    host.work_dir.write_text("a file where the folder should be")
    done = jobs.wait(jobs.submit(order()).id, 30)
    assert done.state == "done"
    assert done.notes.count("This job's journal can't be written; training goes on without it.") == 1
    assert jobs.picture(done.id) is None
    assert jobs.all() == (done,)
    assert jobs.cut_off() == ()


@pytest.mark.slow
def test_pictures_are_let_go(host, jobs):
    jobs.wait(jobs.submit(order()).id, 30)
    jobs.close()
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is Order]


def test_captions_are_not_waited_for_while_a_lora_is_trained(host, jobs):
    job = jobs.submit(order(repeats=200))
    with pytest.raises(CaptionError, match="being trained now"):
        jobs.caption(Image.new("RGB", (64, 64)), CaptionOptions(captioner="pocket"))
    jobs.discard(job.id)
    jobs.wait(job.id, 30)


def test_captions_wait_for_the_hosts_turn(host, jobs):
    picture = order().picture
    answers = []
    asked = threading.Thread(
        target=lambda: answers.append(jobs.caption(picture, CaptionOptions(captioner="pocket"))), daemon=True
    )
    with host.queue_lock:
        asked.start()
        time.sleep(0.2)
        assert answers == []
    asked.join(30)
    assert answers[0].tags
    assert all(isinstance(tag, str) for tag in answers[0].tags)
    assert jobs.caption(picture, CaptionOptions()).tags == ()  # "auto" knows no captioner for this checkpoint
    with pytest.raises(CaptionError, match="no captioner"):
        jobs.caption(picture, CaptionOptions(captioner="nobody"))


def test_the_cost_is_measured_and_then_told(host, jobs):
    settings = order().options
    assert "not measured yet" in jobs.cost(settings)
    jobs.wait(jobs.submit(order()).id, 30)
    until(lambda: "6 steps at 64 px: about" in jobs.cost(settings))
    assert jobs.cost(settings).endswith("as measured last time here.")
    assert "with rank 4" in jobs.cost(order(network_dim=8).options)
    assert "not measured yet" in jobs.cost(order(batch_size=2).options)
    (host.work_dir / "costs.json").write_text('[{"setting": 3}]')
    assert "not measured yet" in jobs.cost(settings)


@pytest.mark.slow
def test_the_thread_ends_when_nothing_comes_and_begins_again(host, jobs, monkeypatch):
    monkeypatch.setattr(line, "IDLE_S", 0.05)

    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "distill-jobs"]

    assert threads() == []
    jobs.wait(jobs.submit(order()).id, 30)
    until(lambda: not threads())
    assert jobs.wait(jobs.submit(order()).id, 30).state == "done"


@pytest.mark.slow
def test_close_keeps_the_one_at_work_and_ends_the_rest(host):
    jobs = Jobs(host)
    first, second = jobs.submit(order(**LONG)), jobs.submit(order())
    until(lambda: jobs.get(first.id).step)
    jobs.close()
    assert jobs.get(first.id).saved
    assert (jobs.get(first.id).state, jobs.get(second.id).state) == ("stopped", "stopped")
    with pytest.raises(JobError, match="No more"):
        jobs.submit(order())
    assert host.lent == 0


def test_there_is_one_for_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(distill.jobs, "_shared", None)
    made = []

    def make_host():
        made.append(TinyHost(tmp_path))
        return made[-1]

    assert shared_jobs(make_host) is shared_jobs(make_host)
    assert len(made) == 1
