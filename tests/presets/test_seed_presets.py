"""The recipes that users know train on the pocket checkpoint: from the command line and from the tab."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from distill.blocks import weights_of
from distill.cli import main
from distill.hosts.standalone import Standalone
from distill.jobs import Jobs
from distill.pocket import CHECKPOINT, PORTRAIT
from distill.presets import BUILT_IN, find
from distill.ui import options_form
from distill.ui.handlers import Handlers
from distill.ui.presets_panel import Presets
from tests.ui.test_tab import VALUES, portrait

SEEDS = ("One Image", "Part 2", "Distillery")
SHORT = {"epochs": 2, "repeats": 2, "reg_count": 2, "view_min_px": 64, "sample_steps": 2, "sample_every": 0}
NOTE = "AdamW8bit can't run here (it needs CUDA, and this is cpu): AdamW takes its place."


def about(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), set(file.keys())


def check(name, path, notes):
    """What the file says of itself is the recipe, but for what was made short and what can't run here."""
    recipe = find(name, BUILT_IN).values
    metadata, keys = about(path)
    told = json.loads(metadata["distill_options"])
    expected = dict(recipe) | {key: SHORT[key] for key in SHORT if key in recipe}
    if recipe["optimizer"] == "adamw8bit":
        expected["optimizer"] = "adamw"
        assert NOTE in notes
    else:
        assert NOTE not in notes
    assert {key: told[key] for key in expected} == expected
    assert metadata["ss_optimizer"].startswith("adamw(")
    assert metadata["ss_network_dim"] == str(recipe["network_dim"])
    assert any(key.startswith("lora_te") for key in keys) == recipe["train_text_encoder"]
    has_down_blocks = any("down_blocks_1" in key for key in keys)  # 4 and 5, which learn nothing in Part 2
    assert has_down_blocks == any(weights_of(recipe["block_weights"])[4:6])


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_from_the_command_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [word for key, value in SHORT.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [
        "train",
        str(PORTRAIT),
        "--captions",
        "woman, red hair, white shirt",
        "--name",
        "seed",
        "--device",
        "cpu",
    ]
    assert main([*command, "--preset", name, *flags, "--no-preview", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notes = [note for event in events for note in event.get("notes", [])]
    check(name, Path("models/Lora/seed.safetensors"), notes)
    assert Path("models/Lora/seed-000001.safetensors").is_file()  # every epoch is kept
    assert Path("models/Lora/seed.png").is_file()  # the source beside it


@pytest.fixture
def jobs(tmp_path):
    jobs = Jobs(Standalone(CHECKPOINT, lora_dir=tmp_path / "Lora", device="cpu"))
    yield jobs
    jobs.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_from_the_tab(name, jobs, tmp_path):
    chosen = Presets(jobs).choose(name)[4:]
    shown = {key: update.get("value", value) for key, update, value in zip(options_form.NAMES, chosen, VALUES)}
    values = shown | SHORT | {"name": "seed", "preview": False}
    problem = Handlers(jobs).distill(portrait(), "woman, red hair, white shirt", *values.values())
    assert problem == ""
    job = jobs.wait(jobs.latest().id, 300)
    assert (job.state, job.error) == ("done", "")
    check(name, tmp_path / "Lora" / "seed.safetensors", job.notes)
