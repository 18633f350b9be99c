"""The log of a training: a table, TensorBoard's files; nothing of it ends a training."""

import csv
import shutil

import pytest
from PIL import Image

from distill.events import Noted, Resumed, Sampled
from distill.logged import logged
from distill.output import log
from distill.output.log import COLUMNS
from distill.training.loop import Step

LOSSES = [0.5, 0.25, 0.75, 0.125, 1.0, 0.375]
PICTURE = Image.radial_gradient("L").convert("RGB").resize((16, 8))


def steps(first=1, last=6):
    for index in range(first, last + 1):
        yield Step(index, 6, LOSSES[index - 1], 0.001 * index, 0.5)
        if index == 3:
            yield Sampled(PICTURE, "woman", index)


def cut_off():
    """As a resumed run tells it: it was killed at step 5, and the last state is of step 3."""
    yield Resumed(3, 6, tuple(LOSSES[:3]))
    yield from steps(4)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


def run(events, folder, how="csv"):
    return [event.note for event in logged(events, folder, how, 2, Clock()) if isinstance(event, Noted)]


def table(folder):
    with (folder / "steps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_step_is_a_line_with_the_mean_over_an_epoch(tmp_path):
    assert run(steps(), tmp_path / "zor") == [f"The log is in {tmp_path / 'zor'}."]
    rows = table(tmp_path / "zor")
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["loss"]) for row in rows] == LOSSES
    assert [row["epoch"] for row in rows] == ["1", "1", "1", "2", "2", "2"]
    assert [float(row["average"]) for row in rows] == [0.5, 0.375, 0.5, 0.375, 0.625, 0.5]
    assert (rows[5]["step"], rows[5]["lr_unet"], rows[5]["lr_text_encoder"]) == ("6", "0.006", "0.5")
    assert [float(row["seconds"]) for row in rows] == [1, 2, 3, 4, 5, 6]


def test_a_line_is_on_the_disk_once_its_step_is_told(tmp_path):
    events = logged(steps(), tmp_path, "csv", 2)
    for event in events:
        if isinstance(event, Noted):  # comes after the first step
            break
    assert [row["step"] for row in table(tmp_path)] == ["1"]
    events.close()
    assert [row["step"] for row in table(tmp_path)] == ["1"]


def test_a_table_goes_on_without_gaps_or_doubles(tmp_path):
    run(steps(), tmp_path / "whole")
    run(steps(last=5), tmp_path / "cut")
    (tmp_path / "cut" / "steps.csv").open("a").write("6,2,0.3")  # half a line
    run(cut_off(), tmp_path / "cut")
    cut, whole = table(tmp_path / "cut"), table(tmp_path / "whole")
    assert [row["step"] for row in cut] == list("123456")
    for name in set(COLUMNS) - {"seconds"}:
        assert [row[name] for row in cut] == [row[name] for row in whole], name
    run(cut_off(), tmp_path / "lost")  # where there was no log before
    lost = table(tmp_path / "lost")
    assert [row["loss"] for row in lost] == [row["loss"] for row in whole]
    assert (lost[0]["lr_unet"], lost[3]["lr_unet"]) == ("", "0.004")


def test_a_new_training_of_the_name_begins_a_new_table(tmp_path):
    run(steps(), tmp_path)
    run(steps(last=2), tmp_path)
    assert [row["step"] for row in table(tmp_path)] == ["1", "2"]


def test_none_writes_nothing(tmp_path):
    assert run(steps(), tmp_path / "zor", "none") == []
    assert not (tmp_path / "zor").exists()


def test_what_can_not_be_written_is_a_note_and_ends_nothing(tmp_path):
    (tmp_path / "zor").write_text("in the way")
    events = list(logged(steps(), tmp_path / "zor", "csv", 2))
    assert [event for event in events if not isinstance(event, Noted)] == list(steps())
    (note,) = [event.note for event in events if isinstance(event, Noted)]
    assert note.startswith("The log ends here, and the training goes on: The log can't be written to")


def test_without_tensorboard_a_table_is_written(tmp_path, monkeypatch):
    def missing():
        raise ImportError("No module named 'tensorboard'")

    monkeypatch.setattr(log, "_summary_writer", missing)
    assert log.NO_TENSORBOARD in run(steps(), tmp_path, "tensorboard")
    assert len(table(tmp_path)) == 6


def scalars(folder):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_reads_kohyas_names_and_the_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run(steps(), tmp_path, "both")
    found = scalars(tmp_path)
    assert set(found.Tags()["scalars"]) == {"loss/current", "loss/average", "lr/unet", "lr/textencoder"}
    assert [(s.step, s.value) for s in found.Scalars("loss/current")] == list(enumerate(LOSSES, start=1))
    (picture,) = found.Images("sample")
    assert (picture.step, picture.width, picture.height) == (3, 16, 8)
    assert len(table(tmp_path)) == 6


def test_tensorboard_shows_no_step_twice_after_a_crash(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    list(zip(range(6), logged(steps(), tmp_path / "cut", "tensorboard", 2)))  # killed at its fifth event
    shutil.copytree(tmp_path / "cut", tmp_path / "again")
    run(cut_off(), tmp_path / "again", "tensorboard")
    found = scalars(tmp_path / "again")
    assert [(s.step, s.value) for s in found.Scalars("loss/current")] == list(enumerate(LOSSES, start=1))
