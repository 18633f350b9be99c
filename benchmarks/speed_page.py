"""What the speed bench measured, as the tables of its page: medians, and in brackets the lowest and the highest.

The page's prose is written by hand; each table stands between `<!-- begin NAME -->` and `<!-- end NAME -->` and is made
anew from the newest run of that name.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
OURS = "ours"
SAMPLES = 120
"""Of a whole LoRA, for which the time is worked out from what was measured."""

Value = dict[Any, float]  # by what it belongs to: (round, step), or the round alone


def rows(path: Path) -> list[Row]:
    """What was measured so far."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def page(of: Sequence[Row], before: str) -> str:
    """The page with its tables made anew; names that it has no markers for are added at its end."""
    newest = {row["name"]: row["run"] for row in of if row["kind"] == "run"}
    for name, run in newest.items():
        if f"<!-- begin {name} -->" not in before:
            before = f"{before.rstrip()}\n\n<!-- begin {name} -->\n<!-- end {name} -->\n".lstrip()
        text = section([row for row in of if row["run"] == run])
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        before = re.sub(pattern, lambda found, text=text: f"{found[1]}{text}\n{found[2]}", before, flags=re.S)  # type: ignore[misc]
    return before


def section(of: Sequence[Row]) -> str:
    """One run: its command, its machine, and a table for each pair of trainers."""
    run = next(row for row in of if row["kind"] == "run")
    pairs = list(dict.fromkeys(row["pair"] for row in of if "pair" in row))
    floors = [row for row in of if row.get("trainer") == "floor"]
    parts = [f"    {run['command']}", "", _about(run, floors), ""]
    for pair in pairs:
        parts += [table([row for row in of if row.get("pair") == pair], run, floors), ""]
    return "\n".join(parts).rstrip()


def table(of: Sequence[Row], run: Row, floors: Sequence[Row]) -> str:
    """Ours beside one other, or ours alone; ratios are made within a round, of the same step where there is one."""
    names = sorted({row["trainer"] for row in of}, key=lambda name: name != OURS)
    measures = {name: _measures([row for row in of if row["trainer"] == name], run, floors) for name in names}
    is_pair = len(names) == 2
    if is_pair and AHEAD in measures[names[0]]:  # the other encodes after its start
        other = measures[names[1]]
        other |= {AHEAD: other.get(CLICK, {}), AHEAD_BEGIN: other.get(BEGIN, {})}
    heads = ["", *names, *([f"{names[0]} / {names[1]}"] if is_pair else [])]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for measure, digits in _rows_of(measures.values()):
        values = [measures[name].get(measure, {}) for name in names]
        if not any(values):
            continue
        cells = [spread(list(value.values()), digits) for value in values]
        if is_pair:
            cells.append(spread(ratios(*values), 2))
        lines.append("| " + " | ".join([measure, *cells]) + " |")
    return "\n".join(lines)


def spread(values: Iterable[float], digits: int) -> str:
    """Median (lowest-highest), or one number where all say the same."""
    of = sorted(values)
    if not of:
        return "-"
    middle, low, high = (f"{value:.{digits}f}" for value in (median(of), of[0], of[-1]))
    return middle if low == high else f"{middle} ({low}-{high})"


def ratios(ours: Value, other: Value) -> list[float]:
    """Of what both have."""
    return [ours[key] / other[key] for key in ours if other.get(key)]


def _rows_of(measures: Iterable[dict[str, Value]]) -> list[tuple[str, int]]:
    names = dict.fromkeys(name for of in measures for name in of)
    return sorted(((name, _DIGITS[name]) for name in names), key=lambda pair: list(_DIGITS).index(pair[0]))


STEP, CPU = "s a step", "CPU-s a step"
LOAD, FIRST, CLICK = "process start to model loaded, s", "process start to first step, s", "to first step, s"
BEGIN = "to where the first step begins, worked out, s"
AGAIN = "the same picture again: to first step, s"
AHEAD, AHEAD_BEGIN = "encoded ahead: to first step, s", "encoded ahead: to where the first step begins, worked out, s"
FIRST_CPU, CLICK_CPU = "process start to first step, CPU-s", "to first step, CPU-s"
FILE, CLICK_FILE, WHOLE = "process start to file, s", "to file, s", f"to file with {SAMPLES} steps, worked out, s"
FLOP, OPERATIONS, SHARE = "TFLOP a step", "operations a step", "of the matrix rate, %"
HOST, GPU = "peak memory, GB", "peak GPU memory, GB"
LAYERS, NUMBERS = "layers trained", "numbers trained, M"
_DIGITS = {
    BEGIN: 2, CLICK: 2, CLICK_CPU: 2, AGAIN: 2, AHEAD_BEGIN: 2, AHEAD: 2, STEP: 3, CPU: 3, CLICK_FILE: 1, WHOLE: 1,
    LOAD: 1, FIRST: 1, FIRST_CPU: 1, FILE: 1, HOST: 2, GPU: 2, FLOP: 3, SHARE: 0, OPERATIONS: 0, LAYERS: 0, NUMBERS: 2,
}  # fmt: skip
"""All measures in the order of the table, with decimals."""


def _measures(of: Sequence[Row], run: Row, floors: Sequence[Row]) -> dict[str, Value]:
    found: dict[str, Value] = defaultdict(dict)
    loaded_cpu_s = {row["round"]: row["cpu_s"] for row in of if row["kind"] == "loaded"}
    for row in of:
        key = row["round"]
        if row["kind"] == "loaded":
            found[LOAD][key] = row["wall_s"]
        elif row["kind"] == "step" and row["index"] == 1:
            found[CLICK][key], found[FIRST][key] = row["after_click_s"], row["wall_s"]
            found[FIRST_CPU][key], found[CLICK_CPU][key] = row["cpu_s"], row["cpu_s"] - loaded_cpu_s.get(key, 0.0)
        elif row["kind"] == "step" and "flop" in row:
            found[FLOP][key], found[OPERATIONS][key] = row["flop"] / 1e12, row["operations"]
        elif row["kind"] == "step":
            found[STEP][key, row["index"]], found[CPU][key, row["index"]] = row["wall_s"], row["cpu_s"]
        elif row["kind"] == "again":
            found[AGAIN][key] = row["first_step_s"]
        elif row["kind"] == "ahead":
            found[AHEAD][key] = row["first_step_s"]
        elif row["kind"] == "end":
            _at_end(found, key, row)
    _work_out(found, {row["round"]: row["last_s"] for row in of if row["kind"] == "end"})
    if found[STEP] and found[FLOP] and floors:
        rate = median(row["flop_per_s"] for row in floors)
        flop = median(found[FLOP].values()) * 1e12
        found[SHARE] = {key: 100 * flop / rate / value for key, value in found[STEP].items()}
    return {name: value for name, value in found.items() if value}


def _work_out(found: dict[str, Value], last_s: Value) -> None:
    """What follows from the step's time; `last_s` is what came after the last one."""
    for key, click_s in found[CLICK].items():
        steps = [value for (round_, _), value in found[STEP].items() if round_ == key]
        if steps and key in found[AHEAD]:
            found[AHEAD_BEGIN][key] = found[AHEAD][key] - median(steps)
        if steps:
            found[BEGIN][key] = click_s - median(steps)
        if steps and key in last_s:
            found[WHOLE][key] = click_s + (SAMPLES - 1) * median(steps) + last_s[key]


def _at_end(found: dict[str, Value], key: Any, row: Row) -> None:
    found[CLICK_FILE][key], found[FILE][key] = row["file_after_click_s"], row["file_s"]
    found[HOST][key], found[LAYERS][key], found[NUMBERS][key] = row["host_gb"], row["layers"], row["parameters"] / 1e6
    if row.get("gpu_gb"):
        found[GPU][key] = row["gpu_gb"]


def _about(run: Row, floors: Sequence[Row]) -> str:
    machine = floors[-1]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    peers = "".join(f", {name} {commit}" for name, commit in run.get("peers", {}).items())
    rate = spread((row["flop_per_s"] / 1e12 for row in floors), 3)
    bandwidth = spread((row["bytes_per_s"] / 1e9 for row in floors), 1)
    return (
        f"{machine['machine']}, threads: {machine['threads']}; {versions}{peers}; {run['what']}. The floor in the same"
        f" run: {rate} TFLOP/s ({machine['precision']} product of two matrices), {bandwidth} GB/s (copying, read and"
        " written)."
    )
