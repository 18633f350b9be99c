"""What the fidelity bench measured, as a page: one row a recipe, with intervals over the subjects."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DRAWS = 1000
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


def page(path: Path) -> str:
    """One table for each weight."""
    grouped: dict[tuple[float, str, int], list[Row]] = defaultdict(list)
    for row in rows(path):
        grouped[row["weight"], row["recipe"], row["step"]].append(row)
    lines = []
    for weight in sorted({key[0] for key in grouped}):
        head = ["recipe", "step", "n", "combined", *AXES, "spread", "s"]
        lines += ["", f"## Weight {weight:g}", "", "| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
        lines += [_line(key, grouped[key]) for key in sorted(grouped) if key[0] == weight]
    return "\n".join(lines) + "\n"


def _line(key: tuple[float, str, int], of: list[Row]) -> str:
    _, recipe, step = key
    low, high = interval(of, combined)
    cells = [recipe, str(step), str(len(of)), f"{100 * combined(of):.1f} ({100 * low:.0f}-{100 * high:.0f})"]
    for axis in AXES:
        low, high = interval(of, lambda drawn, axis=axis: share(drawn, axis))  # type: ignore[misc]
        cells.append(f"{100 * share(of, axis):.1f} ({100 * low:.0f}-{100 * high:.0f})")
    cells.append(f"{sum(row['spread'].get('replicate', 0.0) for row in of) / len(of):.3f}")
    cells.append(f"{sorted(row['seconds'] for row in of)[len(of) // 2]:.1f}")
    return "| " + " | ".join(cells) + " |"
