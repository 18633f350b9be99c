"""Presets in the tab: chosen, saved, deleted, passed on, taken; what goes wrong is said in the row."""

import html
import json
import re

import gradio as gr
import pytest

from distill.jobs import Jobs
from distill.options import Options
from distill.presets import BUILT_IN, find, store
from distill.ui import options_form
from distill.ui.presets_panel import Presets
from tests.models.host import TinyHost

SAME = gr.update()
NAMES = options_form.NAMES
DEFAULTS = [Options().flat()[name] for name in NAMES]


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def presets(host):
    jobs = Jobs(host)
    yield Presets(jobs)
    jobs.close()


def values(**changed):
    return [changed.get(name, value) for name, value in zip(NAMES, DEFAULTS)]


def by_name(updates):
    return {name: update["value"] for name, update in zip(NAMES, updates) if "value" in update}


@pytest.mark.parametrize("chosen", BUILT_IN, ids=lambda chosen: chosen.name)
def test_a_preset_fills_its_widgets_only(presets, chosen):
    preset, goal, help, said, *updates = presets.choose(chosen.name)
    assert by_name(updates) == dict(chosen.values)
    assert preset["value"] == chosen.name
    assert goal["value"] == (chosen.name if chosen in BUILT_IN[:4] else None)
    assert chosen.help[:20] in html.unescape(help)
    assert said == ""


def test_none_chosen_changes_nothing(presets):
    *same, said = presets.choose(None)[:4]
    assert "There is no preset" in said
    assert same == [SAME] * 3


def test_save_and_delete(presets, host):
    preset, name, said = presets.save("mine", *values(network_dim=24.0, seed=7.0))
    assert (preset["value"], preset["choices"][-1], name) == ("mine", "mine", "")
    assert "Saved as mine." in said
    assert by_name(presets.choose("mine")[4:])["network_dim"] == 24
    assert "There is a preset" in presets.save("mine", *values())[2]
    assert "is empty" in presets.save("", *values())[2]
    assert "Rank is empty" in presets.save("other", *values(network_dim=None))[2]
    preset, _, _, said, *updates = presets.delete("mine")
    assert (preset["value"], "mine" in preset["choices"]) == (None, False)
    assert "Deleted mine." in said
    assert by_name(updates) == {}
    assert "comes with Distill" in presets.delete("Part 2")[3]


def test_a_page_that_opens_lists_all_and_what_is_damaged(presets, host):
    presets.save("mine", *values())
    (store.folder_of(host.work_dir) / "broken.json").write_text("{")
    preset, said = presets.refresh("Flexible")
    assert (preset["value"], preset["choices"]) == ("Flexible", [*(each.name for each in BUILT_IN), "mine"])
    assert "broken.json is left out" in said


def handed_over(file):
    return json.loads(html.unescape(re.search('data-file="([^"]*)"', file)[1]))


def test_export_and_import(presets, tmp_path):
    chosen = find("Part 2", BUILT_IN)
    file, said = presets.export("Part 2", *values(**chosen.values))
    about = handed_over(file)
    assert (about["name"], said) == ("Part 2.json", "")
    path = tmp_path / "theirs.json"
    path.write_text(about["text"], "utf-8")
    preset, _, _, said, *updates = presets.upload(str(path), "")
    assert preset["value"] == "theirs"
    assert "Imported as theirs." in said
    assert by_name(updates) == dict(chosen.values)
    assert "There is a preset" in presets.upload(str(path), "")[3]
    assert presets.upload(str(path), "another")[0]["value"] == "another"


def test_what_was_changed_since_is_not_exported_and_named(presets):
    file, said = presets.export_for_kohya(
        "One Image", *values(**{**find("One Image", BUILT_IN).values, "network_dim": 8})
    )
    about = handed_over(file)
    assert about["name"] == "One Image (kohya).json"
    assert json.loads(about["text"])["network_dim"] == 64
    assert "Without what you changed since: Rank. Save it as a preset first." in said


@pytest.mark.parametrize(("data", "message"), [(b"{}", "holds no preset"), (b"\xff", "is not JSON")])
def test_any_other_file_is_refused(presets, tmp_path, data, message):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert message in presets.upload(path, "")[3]
    assert "can&#x27;t be read" in presets.upload(tmp_path / "gone.json", "")[3]
