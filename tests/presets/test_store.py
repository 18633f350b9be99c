"""Presets of one's own: kept, listed, deleted, passed on; nothing is lost or taken in silence."""

import json

import pytest

from distill import recipe
from distill.errors import OptionError
from distill.options import Options
from distill.presets import find, store, with_preset
from distill.presets.files import exported, imported

MINE = Options.from_flat({"network_dim": 24, "unet_lr": 3e-4, "trigger": "zor", "seed": 5, "reg_folder": "/home/me"})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "presets"


def written(**content):
    return json.dumps({"format": 1, "options": {}} | content).encode()


def test_a_preset_is_what_differs_from_the_defaults(folder):
    store.save(folder, "  My   recipe ", MINE)
    (path,) = folder.iterdir()
    assert path.name == "My recipe.json"
    assert json.loads(path.read_text("utf-8"))["options"] == {"network_dim": 24, "unet_lr": 3e-4}
    (read,), problems = store.listed(folder)
    assert (read.name, read.is_own, problems) == ("My recipe", True, ())
    assert read.values == recipe.of_options(MINE)


def test_the_person_s_own_is_not_kept(folder):
    store.save(folder, "mine", MINE)
    text = (folder / "mine.json").read_text("utf-8")
    assert not any(word in text for word in ("zor", "seed", "/home/me"))


def test_nothing_is_written_over_unless_asked(folder):
    store.save(folder, "Mine", MINE)
    for name in ("Mine", "mine"):  # one file on many disks
        with pytest.raises(OptionError, match="There is a preset 'Mine' already"):
            store.save(folder, name, Options())
    store.save(folder, "mine", Options(), replace=True)
    assert [each.differing for each in store.listed(folder)[0]] == [{}]
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is empty"),
        ("../up", "slash"),
        (".hidden", "dot"),
        ("con", "reserved"),
        ("a\x00b", "'.x00'"),
        ("x" * 61, "longer than 60"),
        ("part 2", "comes with Distill"),
    ],
)
def test_a_name_that_can_t_be_used_is_told_why(folder, name, message):
    with pytest.raises(OptionError, match=message):
        store.save(folder, name, MINE)
    assert not folder.exists()


def test_only_one_s_own_can_be_deleted(folder):
    store.save(folder, "mine", MINE)
    assert store.delete(folder, "MINE") == "mine"
    assert store.listed(folder) == ((), ())
    with pytest.raises(OptionError, match="'One Image' comes with Distill"):
        store.delete(folder, "one image")
    with pytest.raises(OptionError, match="There is no preset 'mine'"):
        store.delete(folder, "mine")


def test_damaged_files_are_named_and_the_others_read(folder):
    store.save(folder, "good", MINE)
    (folder / "half.json").write_bytes(store.dumped(find("good", store.listed(folder)[0]))[:40])
    (folder / "later.json").write_bytes(written(format=2))
    (folder / "list.json").write_text("[]")
    (folder / "rank.json").write_bytes(written(options={"network_dim": 999}))
    (folder / "more.json").write_bytes(written(options={"warp": 9, "epochs": 3}))
    found, problems = store.listed(folder)
    assert [each.name for each in found] == ["good", "more"]
    assert problems == (
        "The preset file half.json is left out: The file is not JSON. Choose the JSON file of a preset.",
        "The preset file later.json is left out: The preset has the format 2. This Distill reads 1.",
        "The preset file list.json is left out: The file holds no preset. Choose the JSON file of a preset.",
        "Preset more: Unknown options are left out: warp.",
        "The preset file rank.json is left out: Rank (network_dim) is 999. Choose a value from 1 to 320.",
    )


def test_out_and_in_again(folder):
    kept = store.save(folder, "mine", MINE)
    data, notes = exported(kept)
    read, more = imported(data, "C:\\Users\\me\\theirs.json")
    assert (read.name, dict(read.values), notes, more) == ("theirs", dict(kept.values), (), ())


def test_what_is_unknown_or_personal_in_a_file_is_named():
    read, notes = imported(written(options={"warp": 9, "seed": 4, "epochs": 3, "captioner": "/home/you"}), "a.json")
    assert read.differing == {"epochs": 3}
    assert notes == (
        "Unknown options are left out: warp.",
        "Seed is yours to choose: of this one training.",
        "Captioner is yours to choose: what this machine has.",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epochs": 0}, r"Epochs \(epochs\) is 0. Choose a value from 1 to 100"), ({"flip": "yes"}, "not true or false")],
)
def test_a_value_that_no_option_takes_refuses_the_file(options, message):
    with pytest.raises(OptionError, match=message):
        imported(written(options=options), "a.json")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"{}", b"[1]", b'{"a": 1}', b"[" * 10**5, b" " * 2**21])
def test_any_other_file_is_refused(data):
    with pytest.raises(OptionError):
        imported(data, "a.json")


def test_a_saved_preset_goes_before_the_flags(folder):
    store.save(folder, "mine", MINE)
    options = with_preset(find("mine", store.all_presets(folder)), {"network_dim": 8})
    assert (options.network.network_dim, options.train.unet_lr, options.train.seed) == (8, 3e-4, 0)
