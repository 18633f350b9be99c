"""The speed bench without its peers: turns, counting, and tables; its own side on the pocket checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

CHILD = """
import json, sys
asked = json.loads(sys.argv[1])
for index in range(1, 1 + asked["steps"]):
    print(json.dumps({"kind": "step", "index": index}), flush=True)
    sys.stdin.readline()
if not asked["steps"]:
    raise ValueError("no such flag")
print(json.dumps({"kind": "end", "out": asked["words"][0]}), flush=True)
"""

SCRIPT = """
import sys, torch
from safetensors.torch import save_file
weight = torch.zeros(8, 16, requires_grad=True)
optimizer = torch.optim.AdamW([weight])
for _ in range(4):
    print("as trainers do")
    (torch.ones(4, 8) @ weight).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
up = weight.T.contiguous()
tensors = {"unet.a.lora_down.weight": weight, "unet.a.lora_up.weight": up, "unet.a.alpha": torch.ones(())}
save_file(tensors, sys.argv[1])
"""


@pytest.fixture(autouse=True)
def _found(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def step(trainer, round_, index, wall_s, **more):
    numbers = {"index": index, "wall_s": wall_s, "cpu_s": wall_s, **more}
    return {"pair": "kohya", "trainer": trainer, "round": round_, "kind": "step", **numbers}


def end(trainer, round_, **more):
    numbers = {"file_s": 60.0, "file_after_click_s": 30.0, "last_s": 1.0, "host_gb": 8.0, "gpu_gb": None}
    return {"pair": "kohya", "trainer": trainer, "round": round_, "kind": "end", "layers": 192, **numbers, **more}


def measured():
    rows = [{"kind": "run", "name": "cpu-512", "command": "python benchmarks/speed.py", "what": "512 px", "peers": {}}]
    about = {"machine": "a machine", "threads": 2, "versions": {"torch": "2.13.0"}, "precision": "float32"}
    rows.append({"trainer": "floor", "kind": "end", "flop_per_s": 1e11, "bytes_per_s": 2e10, **about})
    for name, factor in (("ours", 1), ("kohya", 2)):
        if name == "ours":
            rows.append({"pair": "kohya", "trainer": name, "round": 0, "kind": "loaded", "wall_s": 4.0, "cpu_s": 4.0})
            rows.append({"pair": "kohya", "trainer": name, "round": 0, "kind": "again", "first_step_s": 15.0})
            ahead = {"encode_s": 9.0, "first_step_s": 16.0}
            rows.append({"pair": "kohya", "trainer": name, "round": 0, "kind": "ahead", **ahead})
        rows.append(step(name, 0, 1, 9.0 * factor, after_click_s=5.0 * factor))
        rows.append(step(name, 0, 2, 99.0, flop=10**12, operations=3000))
        rows += [step(name, 0, index, (10 + index) * factor) for index in (3, 4, 5)]
        rows.append(end(name, 0, parameters=13 * 10**6))
    return [{"run": "now", **row} for row in rows]


def test_the_table_has_medians_spread_and_ratios_of_the_same_steps():
    import speed_page as page

    text = page.section(measured())
    assert "| s a step | 14.000 (13.000-15.000) | 28.000 (26.000-30.000) | 0.50 |" in text
    assert "| to first step, s | 5.00 | 10.00 | 0.50 |" in text
    assert "| to first step, CPU-s | 5.00 | 18.00 | 0.28 |" in text  # without what loading the model took
    assert "| to where the first step begins, worked out, s | -9.00 | -18.00 | 0.50 |" in text
    assert "| the same picture again: to first step, s | 15.00 | - | - |" in text
    assert "| encoded ahead: to first step, s | 16.00 | 10.00 | 1.60 |" in text  # the other's is its own
    assert "| encoded ahead: to where the first step begins, worked out, s | 2.00 | -18.00 | -0.11 |" in text
    assert "| TFLOP a step | 1.000 | 1.000 | 1.00 |" in text
    assert "| of the matrix rate, % | 71 (67-77) |" in text  # 1 TFLOP in 14 s of 0.1 TFLOP/s
    assert f"| {page.WHOLE} | {5 + 119 * 14 + 1}.0 |" in text
    assert "GPU" not in text


def test_tables_are_those_of_the_newest_run_and_prose_stays():
    import speed_page as page

    once = page.page(measured(), "# Speed\n\nprose\n")
    assert once.startswith("# Speed\n\nprose\n\n<!-- begin cpu-512 -->\n")
    later = [{**row, "run": "later"} for row in measured() if row.get("index") != 3]
    assert "| s a step | 14.500 (14.000-15.000) |" in page.page([*measured(), *later], once)
    assert page.page(measured(), page.page([*measured(), *later], once)) == once


def test_trainers_take_turns_and_one_that_fails_says_why(tmp_path, monkeypatch):
    import speed_turns as turns

    monkeypatch.setattr(turns, "CHILD", tmp_path / "child.py")
    turns.CHILD.write_text(CHILD)
    told = []
    counts = {"one": 2, "other": 3}
    recipes = [turns.Recipe(k, {"steps": n, "words": ["{out}/a"]}, sys.executable) for k, n in counts.items()]
    turns.side_by_side(recipes, tmp_path / "work", told.append)
    order = [(row["trainer"], row.get("index", "end")) for row in told]
    assert order[:4] == [("one", 1), ("other", 1), ("one", 2), ("other", 2)]
    assert order[4:] == [("one", "end"), ("other", 3), ("other", "end")]
    assert told[-1]["out"] == str(tmp_path / "work" / "other" / "out" / "a")
    with pytest.raises(RuntimeError, match="no such flag"):
        turns.side_by_side([turns.Recipe("third", {"steps": 0}, sys.executable)], tmp_path / "work", told.append)


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="there is nothing to hold back here")
def test_a_process_is_held_to_avx2():
    import speed

    code = [sys.executable, "-c", "import torch; print(torch.backends.cpu.get_cpu_capability())"]
    ran = subprocess.run(code, env={**os.environ, **speed.AVX2}, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "AVX2"


def test_products_are_counted_forward_and_backward():
    import speed_child as child

    weight, x = torch.zeros(8, 16, requires_grad=True), torch.ones(4, 8)
    q = torch.ones(1, 2, 64, 8, requires_grad=True)
    with child.Counter() as counter:
        (x @ weight).sum().backward()
    assert counter.flop == 2 * (2 * 4 * 8 * 16)
    assert counter.operations == 4
    with child.Counter() as counter:
        torch.nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()
    assert counter.flop == (2 + 5) * (2 * 2 * 64 * 64 * 8)  # products; backward makes the first of them anew


@pytest.mark.slow
def test_a_script_of_its_own_loop_is_seen_step_by_step(tmp_path):
    import speed_turns as turns

    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    asked = {
        "what": "script",
        "device": "cpu",
        "script": str(script),
        "paths": [],
        "arguments": ["{out}/a.safetensors"],
    }
    told = []
    turns.side_by_side([turns.Recipe("one", asked, sys.executable)], tmp_path / "work", told.append)
    assert [row.get("index") for row in told] == [1, 2, 3, 4, None]
    assert [(row["index"], row["flop"]) for row in told if "flop" in row] == [(2, 2 * (2 * 4 * 8 * 16))]
    assert (told[-1]["layers"], told[-1]["parameters"]) == (1, 2 * 8 * 16)
    assert 0 < told[-1]["file_s"] < 600
    assert told[-1]["host_gb"] > 0.01


@pytest.mark.slow
def test_ours_on_the_pocket_checkpoint(tmp_path):
    import speed_peers as peers
    import speed_turns as turns

    asked = peers.Asked(checkpoint=Path(), work=tmp_path, device="cpu", edge_px=64, rank=4, steps=3, threads=1)
    recipe = peers.pocket(asked, **{**peers.PLAIN, "repeats": 3, "epochs": 1, "resolution": 64})
    told = []
    turns.side_by_side([recipe], tmp_path / "work", told.append)
    assert [row["kind"] for row in told] == ["loaded", "step", "step", "step", "again", "ahead", "end"]
    assert told[5]["encode_s"] > 0
    assert told[5]["first_step_s"] > 0
    assert 0 < told[1]["after_click_s"] < told[1]["wall_s"]
    assert told[2]["flop"] > 10**8
    assert told[-1]["layers"] > 0
    assert json.dumps(told)
