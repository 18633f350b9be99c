"""`distill presets`, and `--preset` of `distill train`."""

import json
from pathlib import Path

import pytest

from distill.cli import main
from distill.cli.flags import parser
from distill.cli.presets import options_with_preset


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(capsys, *arguments):
    """The JSON lines of `distill presets ...`."""
    assert main(["presets", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys, *arguments):
    assert main(["presets", *arguments]) == 1
    return capsys.readouterr().err


def options(*arguments):
    return options_with_preset(parser().parse_args(["train", "picture.png", *arguments]))


def test_save_list_show_use_delete(capsys):
    (saved,) = told(capsys, "save", "mine", "--preset", "part 2", "--epochs", "3")
    assert (saved["name"], saved["own"], saved["options"]["epochs"]) == ("mine", True, 3)
    listed = told(capsys)
    assert [each["name"] for each in listed][-2:] == ["Distillery", "mine"]
    (shown,) = told(capsys, "show", "MINE")
    assert shown["whole"]["block_weights"] == "OUTD (article)"
    used = options("--preset", "mine", "--network-dim", "8", "--name", "zor")
    assert (used.train.epochs, used.network.network_dim, used.output.name) == (3, 8, "zor")
    assert told(capsys, "delete", "mine") == [{"deleted": "mine"}]
    assert "There is no preset 'mine'" in refused(capsys, "delete", "mine")


def test_what_is_in_no_preset_is_said(capsys):
    note, saved = told(capsys, "save", "mine", "--seed", "4", "--epochs", "3")
    assert note["note"] == "Seed is in no preset: of this one training."
    assert saved["options"] == {"epochs": 3}


def test_out_to_kohya_and_in_again(capsys):
    *notes, written = told(capsys, "export", "Part 2", "--kohya", "--out", "part2.json")
    assert written == {"path": "part2.json"}
    assert notes[1]["note"] == "kohya has no setting for: Views, Class pictures, Number of class pictures."
    assert json.loads(Path("part2.json").read_text("utf-8"))["down_lr_weight"] == "1,0,0,0,0,0,0,1,1,1,1,1"
    assert "part2.json exists already" in refused(capsys, "export", "Part 2", "--out", "part2.json")
    note, read = told(capsys, "import", "part2.json", "--as", "from kohya")
    assert note["note"] == "kohya has the repeats in its folder's name: they are 20 here."
    assert read["options"]["noise_offset"] == 0.1
    assert "There is a preset 'from kohya' already" in refused(capsys, "import", "part2.json", "--as", "from kohya")
    assert told(capsys, "import", "part2.json", "--as", "from kohya", "--replace")


def test_people_read_lines(capsys):
    assert main(["presets", "show", "one image"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("One Image  The article's: rank 64")
    assert "--network-dim" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "Which preset was not said."),
        (["import", "nothing.json"], "nothing.json can't be read"),
        (["save", "one image"], "comes with Distill"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, arguments, message):
    assert message in refused(capsys, *arguments)
