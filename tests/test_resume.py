"""A training that was cut off goes on as if it never had been: same losses, same LoRA, to the bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import DistillError, TrainingError
from distill.events import Noted, Resumed, Sampled, Saved
from distill.options import Options
from distill.output import states
from distill.pipeline import distill
from distill.plan import Plan, Shot
from distill.pocket import PORTRAIT
from distill.processes import started_at_s
from distill.training.loop import Step
from tests.models import tiny
from tests.models.host import TinyHost

TAGS = ["woman", "red hair", "green eyes", "holding red apple"]
QUICK = {"repeats": 3, "epochs": 3, "batch_size": 1, "sample_steps": 2, "trigger": "fip zor"}
QUICK |= {"network_dim": 4, "network_alpha": 4.0}
QUIET = {"preview": False, "sample_every": 0}
ROOT = Path(__file__).resolve().parents[1]


PICTURE = Image.radial_gradient("L").resize((96, 128)).convert("RGB")


@pytest.fixture
def picture():
    return PICTURE


def options(**changes):
    return Options.from_flat({**QUICK, **QUIET, **changes})


def tensors(path):
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def same(one, other):
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def losses(events):
    return {event.index: event.loss for event in events if isinstance(event, Step)}


def killed(host, events, after):
    """Consume them until step `after`; what then lies on the disk is what a kill leaves behind."""
    left = host.work_dir.parent / "left"
    for event in events:
        if isinstance(event, Step) and event.index == after:
            for folder in (host.lora_dir, host.work_dir):
                shutil.copytree(folder, left / folder.name, dirs_exist_ok=True)
            break
    events.close()
    for folder in (host.lora_dir, host.work_dir):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(left / folder.name, folder)


def cut_and_whole(tmp_path, picture, *, tags=TAGS, after=5, plan=None, **changes):
    """Hosts and events of a training that was cut off and went on, and of one that never was."""
    plan = plan or Plan()
    whole, cut = TinyHost(tmp_path / "whole" / "Lora"), TinyHost(tmp_path / "cut" / "Lora")
    unbroken = list(distill(whole, picture, tags, options(**changes), plan=plan))
    killed(cut, distill(cut, picture, tags, options(**changes), plan=plan), after)
    rest = list(distill(cut, picture, tags, options(**changes), plan=plan, resume=True))
    return unbroken, rest


KINDS = {
    "plain": {},
    "everything": {
        "optimizer": "lion",
        "gradient_accumulation": 2,
        "ema_decay": 0.9,
        "noise_offset": 0.1,
        "noise_offset_random": True,
        "caption_dropout": 0.2,
        "tag_dropout": 0.2,
        "network_dropout": 0.2,
        "lr_scheduler": "cosine_with_restarts",
        "lr_cycles": 2,
        "flip": True,
    },
    "text encoder": {"train_text_encoder": True, "text_encoder_lr": 1e-3, "scale_weight_norms": 0.01},
    "adafactor": {"optimizer": "adafactor", "network_type": "locon", "conv_dim": 2},
    "loha": {"network_type": "loha", "conv_dim": 2, "ema_decay": 0.5},
    "lokr": {"network_type": "lokr", "conv_dim": 2, "batch_size": 2, "repeats": 6},
    "teacher": {"teacher_class": 1.0, "teacher_blank": 0.5},
    "teacher now and then": {"teacher_blank": 0.5, "teacher_every": 2},
    "prodigy": {"optimizer": "prodigy", "unet_lr": 1.0, "lr_scheduler": "constant"},
}


@pytest.mark.parametrize("kind", ["plain", *(pytest.param(k, marks=pytest.mark.slow) for k in list(KINDS)[1:])])
def test_it_goes_on_to_the_bit(tmp_path, picture, kind):
    if kind == "prodigy":
        pytest.importorskip("prodigyopt", reason="prodigyopt is not installed")
    unbroken, rest = cut_and_whole(tmp_path, picture, **KINDS[kind])
    (resumed,) = [event for event in rest if isinstance(event, Resumed)]
    before, after = losses(unbroken), losses(rest)
    assert resumed.step == 3
    assert list(after) == [4, 5, 6, 7, 8, 9]
    assert after == {step: loss for step, loss in before.items() if step > 3}
    assert list(resumed.losses) == [before[step] for step in (1, 2, 3)]
    assert same(unbroken[-1].path, rest[-1].path)
    assert rest[-1].path.name == "fip_zor.safetensors"


@pytest.mark.slow
def test_class_pictures_come_from_their_store(tmp_path, picture):
    changes = {"reg_pictures": "generate", "reg_count": 3, "repeats": 2, "color_aug": True}
    unbroken, rest = cut_and_whole(tmp_path, picture, **changes)
    before = losses(unbroken)
    assert len(before) == 12  # as many steps again
    assert losses(rest) == {step: loss for step, loss in before.items() if step > 4}
    assert same(unbroken[-1].path, rest[-1].path)


@pytest.mark.slow
def test_pictures_in_turn_go_on_where_they_were(tmp_path, picture):
    more = Plan(more=(Shot(source=picture.rotate(180), tags=("woman", "smile")), Shot(source=picture.rotate(90))))
    unbroken, rest = cut_and_whole(tmp_path, picture, plan=more, tags=TAGS, repeats=4, after=6, captioner="none")
    assert losses(rest) == {step: loss for step, loss in losses(unbroken).items() if step > 4}
    assert same(unbroken[-1].path, rest[-1].path)


@pytest.mark.slow
def test_files_of_epochs_are_made_again_where_the_kill_came_before_them(tmp_path, picture):
    changes = {"repeats": 2, "sample_every": 1}
    whole, cut = TinyHost(tmp_path / "whole" / "Lora"), TinyHost(tmp_path / "cut" / "Lora")
    unbroken = list(distill(whole, picture, TAGS, options(**changes)))
    killed(cut, distill(cut, picture, TAGS, options(**changes)), 3)
    (cut.lora_dir / "fip_zor-000001.safetensors").unlink()
    (cut.lora_dir / "fip_zor-000001.preview.png").unlink()
    rest = list(distill(cut, picture, TAGS, options(**changes), resume=True))
    there, again = (sorted(path.name for path in host.lora_dir.iterdir()) for host in (whole, cut))
    assert there == again
    for kind in (Saved, Sampled):
        a, b = ([event for event in events if isinstance(event, kind)] for events in (unbroken, rest))
        assert [event.path.name for event in a] == [event.path.name for event in b]
    assert all(x.image.tobytes() == y.image.tobytes() for x, y in zip(a, b))


@pytest.mark.slow
def test_files_that_are_younger_than_the_state_are_made_anew_and_others_left_alone(tmp_path, picture):
    def clock():
        days = (datetime(2026, 1, day, tzinfo=timezone.utc) for day in range(1, 32))
        return lambda: next(days)

    older, cut = TinyHost(tmp_path / "older" / "Lora"), TinyHost(tmp_path / "cut" / "Lora")
    killed(older, distill(older, picture, TAGS, options(), now=clock()), 5)
    killed(cut, distill(cut, picture, TAGS, options(), now=clock()), 8)
    shutil.rmtree(cut.work_dir)
    shutil.copytree(older.work_dir, cut.work_dir)  # as if the disk had been full for the second state
    second = cut.lora_dir / "fip_zor-000002.safetensors"
    before = tensors(second)
    done = list(distill(cut, picture, TAGS, options(), resume=True))[-1]
    assert done.path.name == "fip_zor.safetensors"
    assert all(torch.equal(before[key], tensor) for key, tensor in tensors(second).items())
    theirs = older.lora_dir / "fip_zor.safetensors"
    theirs.write_bytes((cut.lora_dir / "fip_zor.safetensors").read_bytes().replace(b"ss_session_id", b"ss_session_xx"))
    done = list(distill(older, picture, TAGS, options(), resume=True))[-1]
    assert done.path.name == "fip_zor-2.safetensors"


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A folder with what a kill in the second epoch left."""
    host = TinyHost(tmp_path_factory.mktemp("left") / "Lora")
    killed(host, distill(host, PICTURE, TAGS, options(repeats=2, epochs=2)), 3)
    return host.lora_dir.parent


@pytest.fixture
def cut(tmp_path, left):
    """A host whose training was cut off in its second epoch."""
    shutil.copytree(left, tmp_path / "cut")
    return TinyHost(tmp_path / "cut" / "Lora")


def go_on(host, picture=PICTURE, tags=TAGS, **changes):
    return list(distill(host, picture, tags, options(repeats=2, epochs=2, **changes), resume=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_dim": 8}, r"Rank \(network_dim\) was 4, is 8\."),
        pytest.param(
            {"seed": 1, "unet_lr": 1e-4},
            r"rate \(unet_lr\) was 0.001, is 0.0001; Seed \(seed\) was 0, is 1\.",
            marks=pytest.mark.slow,
        ),
        pytest.param({"tags": ["woman", "smile"]}, "other captions", marks=pytest.mark.slow),
        ({"turned": True}, "another picture; other cuts or masks"),
    ],
)
def test_another_training_is_refused_and_says_what_differs(cut, changes, said):
    changed = dict(changes)
    given = PICTURE.rotate(180) if changed.pop("turned", False) else PICTURE
    with pytest.raises(TrainingError, match=said):
        go_on(cut, given, **changed)
    assert cut.lent == 0
    assert go_on(cut)[-1].path.is_file()  # and nothing was lost by that


@pytest.mark.slow
def test_another_checkpoint_is_refused(cut):
    cut.models = tiny.models(unet=tiny.unet(seed=5), name="other")
    with pytest.raises(TrainingError, match=r"checkpoint was tiny, is other; other weights of the checkpoint\."):
        go_on(cut)


@pytest.mark.slow
def test_what_does_not_matter_for_the_training_may_differ(cut):
    done = go_on(cut, sample_every=3, preview=True, gradient_checkpointing=True, log="none")[-1]
    assert (done.step, done.stopped) == (4, "")


def test_other_packages_are_noted(cut):
    path = next(cut.work_dir.glob("states/*/state.json"))
    about = json.loads(path.read_text())
    about["values"]["packages"]["torch"] = "1.0"
    path.write_text(json.dumps(about))
    (resumed,) = [event for event in go_on(cut) if isinstance(event, Resumed)]
    assert "numbers may differ slightly: torch 1.0 -> " in resumed.notes[0]


@pytest.mark.slow
def test_captions_that_were_asked_for_are_not_asked_again(cut):
    assert go_on(cut, tags=None, captioner="none")[-1].step == 4


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(TrainingError, match="no state of a training"):
        go_on(TinyHost(tmp_path / "Lora"))


@pytest.mark.slow
def test_a_training_that_still_runs_is_not_taken_over(cut):
    path = next(cut.work_dir.glob("states/*/state.json"))
    about = json.loads(path.read_text())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        about |= {"pid": other.pid, "started_s": started_at_s(other.pid)}
        path.write_text(json.dumps(about))
        with pytest.raises(TrainingError, match="no state of a training"):
            go_on(cut)
        with pytest.raises(TrainingError, match="in another running program"):
            list(distill(cut, PICTURE, TAGS, options(repeats=2, epochs=2), key=path.parent.name, resume=True))
        other.kill()
    assert go_on(cut)[-1].step == 4


@pytest.mark.parametrize(
    "how", ["stopped", *(pytest.param(how, marks=pytest.mark.slow) for how in ("done", "discarded", "off"))]
)
def test_no_state_stays_when_a_training_ends(tmp_path, picture, how):
    host, taken = TinyHost(tmp_path / "Lora"), []
    stop = (lambda: len(taken) >= 4) if how == "stopped" else (lambda: False)
    events = distill(host, picture, TAGS, options(repeats=2, keep_state=how != "off"), should_stop=stop)
    for event in events:
        if isinstance(event, Step):
            taken.append(event)
            assert bool(list(host.work_dir.glob("states/*/state.json"))) == (len(taken) > 2 and how != "off")
        if how == "discarded" and len(taken) == 3:
            events.close()
    assert not list(host.work_dir.glob("states/*"))


def test_a_state_that_can_not_be_written_is_a_note(tmp_path, picture):
    host = TinyHost(tmp_path / "Lora")
    host.work_dir.mkdir()
    (host.work_dir / "states").write_text("in the way")
    events = list(distill(host, picture, TAGS, options(repeats=2)))
    notes = [event.note for event in events if isinstance(event, Noted)]
    assert len(notes) == 2
    assert "can't be kept, so it could not go on after a crash" in notes[0]
    assert events[-1].stopped == ""


def test_a_damaged_state_is_told(cut):
    path = next(cut.work_dir.glob("states/*/*.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DistillError, match="is damaged"):
        go_on(cut)
    assert cut.lent == 0


def test_only_the_newest_left_states_are_kept(tmp_path, picture):
    host = TinyHost(tmp_path / "Lora")
    for n in range(states.MOST + 2):
        states.write(host.work_dir / "states" / f"t{n}", {"n": n}, {"x": torch.zeros(1)})
        os.utime(host.work_dir / "states" / f"t{n}" / "state.json", (n + 1, n + 1))
    next(event for event in distill(host, picture, TAGS, options(repeats=1, epochs=2)) if isinstance(event, Saved))
    assert [kept.values["n"] for kept in states.every(host.work_dir)] == [6, 5, 4, 3]  # and it had the fifth place


COMMAND = ["--json", "--device=cpu", "--captions=woman, smile", "--name=one", "--no-preview", "--sample-every=0"]
COMMAND += ["--repeats=4", "--epochs=3", "--batch-size=1", "--network-dim=4"]


def command(folder, *more):
    """`distill train` on the pocket checkpoint, one JSON object a line."""
    return subprocess.Popen(
        [sys.executable, "-m", "distill", "train", str(PORTRAIT), "--lora-dir", str(folder), *COMMAND, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def told(process, until=None):
    """Its steps by their numbers; it is killed after step `until`."""
    steps = {}
    for line in process.stdout:
        values = json.loads(line)
        if values["event"] == "step":
            steps[values["index"]] = values["loss"]
            if values["index"] == until:
                process.send_signal(signal.SIGKILL)
    process.wait()
    return steps


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_command_goes_on_and_is_killed_and_goes_on(tmp_path):
    whole, parts = told(command(tmp_path / "whole")), tmp_path / "parts"
    assert max(told(command(parts), until=6)) < 12
    second = told(command(parts, "--resume"), until=10)
    third = told(command(parts, "--resume"))
    assert (min(second), min(third)) == (5, 9)
    assert {**second, **third} == {step: loss for step, loss in whole.items() if step > 4}
    assert same(tmp_path / "whole" / "one.safetensors", parts / "one.safetensors")
    assert not list((parts / ".distill").glob("states/*"))
