"""What is shown of a job in each of its states."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from distill.events import Measured
from distill.host import Loaded
from distill.jobs import Job, SavedLora
from distill.jobs.grounding import Grounding
from distill.training.grounding import Verdict
from distill.training.meters import Reading
from distill.ui import live
from distill.ui.prompt import block

VERDICTS = ("learning", "good")

EPOCHS = tuple(
    SavedLora(path=Path(f"zor_fip{end}.safetensors"), step=step, epoch=step // 2)
    for end, step in (("-000001", 2), ("", 4))
)
RUNNING = Job(
    id="distill-1",
    state="running",
    name="zor_fip",
    text="Step 3 of 4.",
    step=3,
    total=4,
    losses=(0.3, 0.2, 0.1),
    eta_s=100.4,
    tags=("zor fip woman", "red hair"),
    size_px=(64, 96),
    saved=EPOCHS[:1],
    created_at="2026-01-02T10:11:12+00:00",
)
DONE = replace(RUNNING, state="done", step=4, text="Done: zor_fip is in the LoRA folder.", saved=EPOCHS, seconds=61.0)


POCKET = Loaded(name="pocket")
UNCHECKED = Grounding()


@dataclass
class Shown:
    """Jobs that stand still."""

    job: Job | None = None
    loaded: Loaded = POCKET
    cut: tuple[Job, ...] = ()
    check: Grounding = UNCHECKED
    going: tuple[str, ...] = ()

    @property
    def words(self):
        return type("Words", (), {"snapshot": lambda _: self.check})()

    @property
    def host(self):
        return type("Host", (), {"loaded": lambda _: self.loaded})()

    def latest(self):
        return self.job

    def cut_off(self):
        return self.cut

    def can_resume(self, job):
        return job.id in self.going


def test_nothing_yet():
    parts = live.parts(Shown())
    assert parts["state"] == {"state": "idle", "active": False, "cutOff": False, "goOn": False}
    assert (parts["status"], parts["loss"], parts["strip"], parts["ready"], parts["ended"]) == ("", "", "", True, None)


def test_a_check_of_the_words_is_told_with_its_verdicts():
    verdict = Verdict(tag="red hair", score=0.5, verdict="weak", advice="Say it in other words.")
    check = Grounding(state="running", done=3, total=9, text="3 of 9.", verdicts=(verdict,))
    said = live.parts(Shown(check=check))["state"]["words"]
    assert (said["state"], said["done"], said["total"]) == ("running", 3, 9)
    assert said["verdicts"] == (asdict(verdict),)


def test_running():
    parts = live.parts(Shown(RUNNING))
    assert "Step 3 of 4." in parts["status"]
    assert "about 1 min 40 s left" in parts["status"]
    assert "polyline" in parts["loss"]
    assert "Epoch 1" in parts["strip"]
    assert not parts["ready"]
    assert parts["state"]["task"] == "task(distill-1)"
    assert parts["ended"] is None


def test_what_was_learned_and_which_epoch_fits_whom():
    readings = (Reading(0.3, 0.05, 0.0, 1.0), Reading(0.6, 1.9, 0.1, 0.8))
    measured = tuple(Measured(2 * i, i, one, verdict) for i, (one, verdict) in enumerate(zip(readings, VERDICTS), 1))
    parts = live.parts(Shown(replace(DONE, measured=measured)))
    assert 'data-verdict="good"' in parts["meters"]
    assert "60 %" in parts["meters"]
    assert "Epoch 1 <em>flexible</em> <em>balanced</em>" in parts["strip"]
    assert "Epoch 2, the last <em>faithful</em>" in parts["strip"]
    assert live.parts(Shown(DONE))["meters"] == ""


def test_done():
    parts = live.parts(Shown(DONE))
    assert "Done: zor_fip" in parts["status"]
    assert "1 min 1 s" in parts["status"]
    assert "Epoch 2, the last" in parts["strip"]
    assert 'data-chosen="zor_fip"' in parts["strip"]
    assert parts["ready"]
    assert parts["ended"] == ("distill-1", 2)
    assert parts["state"]["size"] == [64, 96]


def test_failed_says_what_to_do():
    parts = live.parts(
        Shown(replace(RUNNING, state="failed", error="Out of memory.", hint="Lower the rank.", saved=()))
    )
    assert "Out of memory." in parts["status"]
    assert "Lower the rank." in parts["status"]
    assert parts["ended"] is None


@pytest.mark.parametrize("state", ["queued", "waiting", "stopped", "discarded", "cut_off"])
def test_every_state_says_something(state):
    assert "<b>" in live.parts(Shown(replace(RUNNING, state=state, text="")))["status"]


def test_a_checkpoint_s_problem_takes_the_button_away():
    parts = live.parts(Shown(loaded=Loaded(name="x", problem="It is SDXL. Choose an SD1.5 checkpoint.")))
    assert "It is SDXL." in parts["checkpoint"]
    assert not parts["ready"]


def test_cut_off_says_what_is_kept():
    cut = replace(RUNNING, state="cut_off", saved=EPOCHS)
    assert "cut off at step 3 of 4; epochs 1, 2 are kept" in live.parts(Shown(cut=(cut,)))["cut_off"]
    assert "can go on" not in live.parts(Shown(cut=(cut,)))["cut_off"]
    assert "It can go on after the last whole epoch." in live.parts(Shown(cut=(cut,), going=(cut.id,)))["cut_off"]
    assert live.parts(Shown(cut=(cut,), going=(cut.id,)))["state"]["goOn"]
    failed = replace(cut, state="failed", error="The disk is full.")
    assert "failed at step 3 of 4" in live.parts(Shown(cut=(failed,), going=(cut.id,)))["cut_off"]
    assert "nothing was saved yet" in live.parts(Shown(cut=(replace(cut, saved=()),)))["cut_off"]


def test_marks_change_with_what_they_mark_only():
    before, after = (
        live.marks(live.parts(Shown(job))) for job in (RUNNING, replace(RUNNING, step=4, text="Step 4 of 4."))
    )
    assert {name for name in before if before[name] != after[name]} == {"state", "status"}


def test_block_calls_a_file_that_is_there():
    assert block(DONE, "zor_fip-000001", 0.8) == "zor fip woman, red hair, <lora:zor_fip-000001:0.8>"
    assert block(DONE, "another", 0.8) == ""
    assert block(DONE, "", 0.8) == ""


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (100, "1 min 40 s"), (7260, "2 h 1 min")])
def test_durations(seconds, said):
    assert live.duration(seconds) == said
