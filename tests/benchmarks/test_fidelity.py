"""The fidelity bench: what it asks, how it counts, and that the judge for photographs runs."""

import argparse
import sys
from pathlib import Path

import pytest
from PIL import Image

from distill.options import Options

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def row(recipe, subject, likeness, obedience, step=120, weight=0.8):
    hits = {"likeness": [likeness, 10], "obedience": [obedience, 10]}
    numbers = {"total": 120, "step": step, "weight": weight, "seconds": 30.0}
    return {"recipe": recipe, "subject": subject, "hits": hits, "spread": {"replicate": 0.1}, **numbers}


def test_twelve_prompts_that_change_what_they_say_and_one_without_the_trigger():
    import fidelity_bank as bank

    for number in range(4):
        subject = bank.subject(number)
        asked = bank.prompts(subject)
        assert (len(asked), sum(prompt.triggered for prompt in asked)) == (13, 12)
        assert asked == bank.prompts(bank.subject(number))
        for prompt in asked:
            assert all(value != getattr(subject.attributes, name) for name, value in prompt.changed.items())
        assert {"replicate", "remove", "replace", "add", "setting", "mix", "few", "class"} == {p.kind for p in asked}
    assert bank.subject(0).attributes != bank.subject(0, bank.TUNING).attributes


def test_how_far_ahead_is_counted_on_the_same_subjects():
    import fidelity_page as page

    ours = [row("ours", n, 8, 10) for n in range(4)]
    theirs = [row("theirs", n, 6, 10) for n in range(3)]
    assert page.ahead(ours, theirs, lambda rows: page.share(rows, "likeness")) == "+20.0 (+20 to +20)"
    assert page.combined(ours) == pytest.approx(2 * 0.8 / 1.8)
    low, high = page.interval([row("ours", n, n, 10) for n in range(10)], lambda rows: page.share(rows, "likeness"))
    assert low < 0.45 < high


def test_at_equal_time_each_recipe_is_shown_where_it_took_as_long_as_ours():
    import fidelity_page as page

    def theirs(samples, seconds, likeness):
        rows = [row("theirs", n, likeness, 10, step=samples) for n in range(3)]
        return [{**one, "total": samples, "seconds": seconds} for one in rows]

    ours = [row("ours", n, 8, 9) for n in range(3)]
    table = page.equal_time([*ours, *theirs(120, 45.0, 7), *theirs(80, 31.0, 5), *theirs(40, 15.0, 1)])
    assert "| theirs | 80 | 3 | 31 | 50.0 (50-50) | 100.0 (100-100) |" in table
    assert "+30.0 (+30 to +30) | -10.0 (-10 to -10) |" in table
    assert "| ours | 120 | 3 | 30 |" in table


def test_tables_are_made_anew_and_prose_stays(tmp_path):
    import json

    import fidelity_page as page

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row("ours", n, 8, 10)) + "\n" for n in range(3)))
    once = page.page(file, "# Title\n\n<!-- begin recipes -->\nold\n<!-- end recipes -->\nprose\n")
    assert "old" not in once
    assert "| ours | 3 | 30 | 88.9 (89-89) | 80.0 (80-80) |" in once
    assert once.startswith("# Title")
    assert once.endswith("prose\n")
    assert page.page(file, once) == once


def test_what_is_published_is_known_and_each_run_of_its_own():
    from fidelity_recipes import PUBLISHED, values

    runs = [(recipe, run["total"]) for run in PUBLISHED for recipe in run["recipes"]]
    assert len(set(runs)) == len(runs)
    assert all(Options.from_flat(values(recipe)) for recipe, _ in runs)
    assert {"One Image", "Part 2", "kohya_ss", "plain 4", "plain 16", "plain 64", "ours"} <= {name for name, _ in runs}


def test_the_picker_is_only_compared_where_there_is_something_to_pick():
    import fidelity_picks as picks

    def read(likeness, step, fit):
        meters = {"fit": fit, "bleed": 0.0, "leak": 0.0, "edit": 1.0}
        return {**row("ours", 0, likeness, 10, step=step), "meters": meters}

    alone = {**read(1, 120, 0.9), "subject": 1}
    runs = picks.trainings([read(5, 60, 0.9), read(10, 120, 0.2), alone], 0.8)
    assert [[one["step"] for one in run] for run in runs] == [[60, 120]]
    assert picks.line(runs, 0.0).split(" | ")[1:4] == ["1", "66.7", "100.0"]  # it took the epoch of the better fit


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="one Python is enough")
def test_photographs_are_judged_by_dino_and_clip(tmp_path):
    transformers = pytest.importorskip("transformers", minversion="4.46")
    import fidelity_photo as photo

    from distill.pocket import CHECKPOINT, PORTRAIT
    from tests.models.tiny import TOKENIZER

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    dino = transformers.Dinov2Config(**small, image_size=56, patch_size=14)
    transformers.Dinov2Model(dino).save_pretrained(tmp_path / "dino")
    vision = {**small, "image_size": 56, "patch_size": 14}
    clip = transformers.CLIPConfig(text_config={**small, "vocab_size": 49408}, vision_config=vision, projection_dim=16)
    transformers.CLIPModel(clip).save_pretrained(tmp_path / "clip")
    transformers.CLIPTokenizer.from_pretrained(TOKENIZER).save_pretrained(tmp_path / "clip")
    picture = tmp_path / "portrait.png"
    Image.open(PORTRAIT).save(picture)
    picture.with_suffix(".txt").write_text("woman, red hair, yellow background, window")
    eyes = photo.Eyes(tmp_path / "dino", tmp_path / "clip")
    original = Image.open(picture)
    assert float(eyes.looks(original) @ eyes.looks(original)) == pytest.approx(1, abs=1e-5)
    asked = {"checkpoint": CHECKPOINT, "work": tmp_path / "work", "total": 2, "weight": 0.8, "seeds": 1}
    arguments = argparse.Namespace(**asked, sample_steps=1)
    rows = [one for recipe in ("base", "ours") for one in photo.judged(recipe, picture, eyes, arguments)]
    assert len(rows) == 20
    assert {one["kind"] for one in rows} == {"replicate", "remove", "add", "setting", "few", "class"}
    assert all(-1 <= one["likeness"] <= 1 and -1 <= one["obedience"] <= 1 for one in rows)
    assert photo.table(rows).count("\n") == 13


def test_a_run_goes_on_where_it_ended_weight_by_weight(tmp_path, monkeypatch):
    import fidelity
    import fidelity_page as page

    def judged(recipe, subject, judge, arguments, weights):
        return [{"weight": weight, "step": 0 if recipe == "base" else 100} for weight in weights]

    def run(*weights):
        given = {"out": tmp_path / "rows.jsonl", "shard": "0/1", "tuning": False, "first": 2, "subjects": 1}
        given |= {"recipes": ["ours"], "weights": list(weights), "samples": [], "total": 100}
        fidelity._run(argparse.Namespace(**given), None)
        return [
            tuple(row[name] for name in ("recipe", "subject", "total", "weight")) for row in page.rows(given["out"])
        ]

    monkeypatch.setattr(fidelity, "_measured", judged)
    first = [("base", 2, 0, 0.0), ("ours", 2, 100, 0.8)]
    assert run(0.8) == first
    assert run(0.8) == first
    assert run(0.8, 1.0) == [*first, ("ours", 2, 100, 1.0)]
