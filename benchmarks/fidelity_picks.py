"""The picker against the oracle: of the epochs of each training, the one that the meters take and the judge's best.

    python benchmarks/fidelity_picks.py --out picks.jsonl            # as it is
    python benchmarks/fidelity_picks.py --out tuning.jsonl --search  # which cost of harm comes closest

The rows are those of `fidelity.py` with several --samples. The judge's score of an epoch is the harmonic mean of
likeness and obedience; faithful is held against likeness, flexible against obedience and kept attributes.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fidelity_page import Row, combined, rows

from distill.training.meters import Reading
from distill.training.picker import COSTS, harm

SEARCHED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


def main() -> None:
    """Write the table, or the search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weight", type=float, default=0.8)
    parser.add_argument("--search", action="store_true")
    arguments = parser.parse_args()
    runs = trainings(rows(arguments.out), arguments.weight)
    costs = SEARCHED if arguments.search else [COSTS["balanced"]]
    print("| cost | trainings | picked | oracle | the last | picked / oracle |\n| --- | --- | --- | --- | --- | --- |")
    for cost in costs:
        print(line(runs, cost))


def trainings(of: Sequence[Row], weight: float) -> list[list[Row]]:
    """The epochs of each training, in their order; where only one was judged there is nothing to pick."""
    grouped: Mapping[Any, list[Row]] = defaultdict(list)
    for row in of:
        if row["weight"] == weight and "meters" in row:
            grouped[row["recipe"], row["subject"], row["total"]].append(row)
    return [sorted(epochs, key=lambda row: row["step"]) for epochs in grouped.values() if len(epochs) > 1]


def line(runs: Sequence[Sequence[Row]], cost: float) -> str:
    """One row of the table: mean scores of what is picked at that cost, of the best and of the last."""

    def mean(score: Callable[[Sequence[Row]], float]) -> float:
        return sum(score(run) for run in runs) / len(runs)

    picked = mean(lambda run: combined([max(run, key=lambda row: worth(row, cost))]))
    best = mean(lambda run: max(combined([row]) for row in run))
    last = mean(lambda run: combined([run[-1]]))
    cells = [f"{cost:g}", str(len(runs)), *(f"{100 * v:.1f}" for v in (picked, best, last)), f"{picked / best:.3f}"]
    return "| " + " | ".join(cells) + " |"


def worth(row: Row, cost: float) -> float:
    """As `training.picker.worth`, for any cost."""
    reading = Reading(**row["meters"])
    return reading.fit - cost * harm(reading)


if __name__ == "__main__":
    main()
