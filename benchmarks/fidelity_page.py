"""What the fidelity bench measured, as the tables of its page, with intervals over the subjects.

The page's prose is written by hand; each table stands between `<!-- begin NAME -->` and `<!-- end NAME -->` and is made
anew.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DRAWS = 1000
MAIN = 0.8  # the weight of the main table
STEPS = 120
OURS = "ours"
GOALS = ("Replicate", "Flexible", "Character", "Style")  # the tab's; they have a table of their own
TAUGHT = "blank teacher in each step"  # for the goals' table, too
AXES = ("likeness", "obedience", "kept", "remove", "identity", "add", "replace", "bleed", "class", "leak", "recall")


def rows(path: Path) -> list[Row]:
    """What was judged so far."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def share(of: Iterable[Row], axis: str) -> float:
    """Of all answers to the axis, how many were yes; not a number without any."""
    counts = [row["hits"].get(axis, (0, 0)) for row in of]
    total = sum(count[1] for count in counts)
    return sum(count[0] for count in counts) / total if total else float("nan")


def combined(of: Sequence[Row]) -> float:
    """Harmonic mean of likeness and obedience: neither makes up for the other."""
    likeness, obedience = share(of, "likeness"), share(of, "obedience")
    return 2 * likeness * obedience / max(likeness + obedience, 1e-9)


def interval(of: Sequence[Row], value: Callable[[Sequence[Row]], float]) -> tuple[float, float]:
    """95 % by drawing subjects anew, 1000 times: the seeds of one subject are no independent answers."""
    rng, by_subject = random.Random(0), defaultdict(list)
    for row in of:
        by_subject[row["subject"]].append(row)
    subjects = list(by_subject.values())
    drawn = sorted(
        value([row for rows in rng.choices(subjects, k=len(subjects)) for row in rows]) for _ in range(DRAWS)
    )
    return drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS) - 1]


def ahead(ours: Sequence[Row], other: Sequence[Row], value: Callable[[Sequence[Row]], float]) -> str:
    """By how much ours is ahead on the subjects that both have, in percent points, with its interval."""
    common = sorted({row["subject"] for row in ours} & {row["subject"] for row in other})
    pairs = [{"subject": n, "ours": _of(ours, n), "other": _of(other, n)} for n in common]
    if not pairs:
        return "-"

    def difference(drawn: Sequence[Row]) -> float:
        return value([r for p in drawn for r in p["ours"]]) - value([r for p in drawn for r in p["other"]])

    low, high = interval(pairs, difference)
    return f"{100 * difference(pairs):+.1f} ({100 * low:+.0f} to {100 * high:+.0f})"


def _of(of: Sequence[Row], subject: int) -> list[Row]:
    return [row for row in of if row["subject"] == subject]


def page(path: Path, before: str) -> str:
    """The page with its tables made anew from the rows at `path`; without markers, all tables one after another."""
    of = rows(path)
    peers = [row for row in of if row["recipe"] not in (*GOALS, TAUGHT)]
    tables = {
        "recipes": recipes(peers),
        "ahead": compared(peers),
        "ahead-full": compared(peers, 1.0),
        "time": equal_time(peers),
        "weights": weights(of),
        "steps": steps(of),
    }
    if "<!-- begin" not in before:
        before = "\n\n".join(f"<!-- begin {name} -->\n<!-- end {name} -->" for name in tables) + "\n"
    for name, table in tables.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        before = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", before, flags=re.S)  # type: ignore[misc]
    return before


def recipes(of: Sequence[Row]) -> str:
    """Every recipe at the same number of steps and the main weight; the checkpoint alone first."""
    grouped = _grouped(of, lambda row: row["recipe"] if row["step"] == 0 or _is_main(row) else None)
    return _table(("recipe",), grouped)


def compared(of: Sequence[Row], weight: float = MAIN) -> str:
    """By how much ours is ahead of each at that weight, on the same subjects."""
    grouped = _grouped(of, lambda row: row["recipe"] if _is_main(row, weight) else None)
    lines = _head("against", "n", "likeness", "obedience", "combined", "time")
    for recipe in sorted(set(grouped) - {OURS}) if OURS in grouped else ():
        other = grouped[recipe]
        cells = [
            ahead(grouped[OURS], other, lambda rows: share(rows, "likeness")),
            ahead(grouped[OURS], other, lambda rows: share(rows, "obedience")),
            ahead(grouped[OURS], other, combined),
            f"{_median_s(grouped[OURS]) / _median_s(other):.2f}",
        ]
        lines.append("| " + " | ".join([recipe, str(len(other)), *cells]) + " |")
    return "\n".join(lines)


def equal_time(of: Sequence[Row]) -> str:
    """Every recipe after the samples for which its time is nearest to that of ours; ours at its end."""
    ours = [row for row in of if row["recipe"] == OURS and _is_main(row)]
    ends = _grouped(of, lambda row: (row["recipe"], row["step"]) if row["weight"] == MAIN and row["step"] else None)
    lines = _head("recipe", "samples", "n", "s", "likeness", "obedience", "combined", "ahead: likeness", "obedience")
    for recipe in sorted({recipe for recipe, _ in ends} - {OURS}) if ours else ():
        at = {step: rows for (name, step), rows in ends.items() if name == recipe}
        step = min(at, key=lambda step: abs(_median_s(at[step]) - _median_s(ours)))
        told = [ahead(ours, at[step], partial(share, axis=axis)) for axis in ("likeness", "obedience")]
        lines.append("| " + " | ".join([recipe, *_timed(step, at[step]), *told]) + " |")
    if ours:
        lines.append("| " + " | ".join([OURS, *_timed(STEPS, ours), "", ""]) + " |")
    return "\n".join(lines)


def _timed(step: int, of: Sequence[Row]) -> list[str]:
    values = (partial(share, axis="likeness"), partial(share, axis="obedience"), combined)
    return [str(step), str(len(of)), f"{_median_s(of):.0f}", *(_told(of, value) for value in values)]


def weights(of: Sequence[Row]) -> str:
    """What was judged at several: at its own samples where it is a goal, else at those of all."""
    several = {row["recipe"] for row in of if row["weight"] not in (0.0, MAIN)}
    whole = [row for row in of if is_last(row) and (row["total"] == STEPS or row["recipe"] in GOALS)]
    grouped = _grouped(whole, lambda row: (row["recipe"], f"{row['weight']:g}") if row["recipe"] in several else None)
    return _table(("recipe", "weight"), grouped)


def steps(of: Sequence[Row]) -> str:
    """The course of those recipes of which several epochs were judged."""
    counts = defaultdict(set)
    for row in of:
        counts[row["recipe"], row["total"]].add(row["step"])
    several = {key for key, found in counts.items() if len(found) > 1}
    grouped = _grouped(
        of,
        lambda row: (
            (row["recipe"], str(row["total"]), f"{row['step']:4d}")
            if (row["recipe"], row["total"]) in several and row["weight"] == MAIN
            else None
        ),
    )
    return _table(("recipe", "of", "step"), grouped)


def _is_main(row: Row, weight: float = MAIN) -> bool:
    return bool(row["weight"] == weight and row["total"] == STEPS and is_last(row))


def is_last(row: Row) -> bool:
    """Whether it is of the end of a training, or of none."""
    return bool(row["step"] >= 0.9 * row["total"])


def _grouped(of: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    grouped = defaultdict(list)
    for row in of:
        if key(row) is not None:
            grouped[key(row)].append(row)
    return dict(grouped)


def _head(*names: str) -> list[str]:
    return ["| " + " | ".join(names) + " |", "| --- " * len(names) + "|"]


def _table(keys: Sequence[str], grouped: dict[Any, list[Row]]) -> str:
    lines = _head(*keys, "n", "s", "combined", *AXES, "spread")
    for key in sorted(grouped, key=lambda key: (key != "base", key)):
        named = [key] if isinstance(key, str) else list(key)
        lines.append("| " + " | ".join([*named, *_cells(grouped[key])]) + " |")
    return "\n".join(lines)


def _cells(of: list[Row]) -> list[str]:
    values: list[Callable[[Sequence[Row]], float]] = [combined]
    values += [lambda drawn, axis=axis: share(drawn, axis) for axis in AXES]  # type: ignore[misc]
    spread = sum(row["spread"].get("replicate", 0.0) for row in of) / len(of)
    return [str(len(of)), f"{_median_s(of):.0f}", *(_told(of, value) for value in values), f"{spread:.3f}"]


def _told(of: Sequence[Row], value: Callable[[Sequence[Row]], float]) -> str:
    low, high = interval(of, value)
    return f"{100 * value(of):.1f} ({100 * low:.0f}-{100 * high:.0f})"


def _median_s(of: Sequence[Row]) -> float:
    return float(sorted(row["seconds"] for row in of)[len(of) // 2])
