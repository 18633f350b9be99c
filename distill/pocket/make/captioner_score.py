"""How right a captioner's tags are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """Shares from 0 to 1 over all portraits together."""

    precision: float
    recall: float
    class_right: float
    all_right: float
    count: int

    def __str__(self) -> str:
        return (
            f"tags: precision {self.precision:.3f}, recall {self.recall:.3f}, class {self.class_right:.3f}, "
            f"whole caption right {self.all_right:.3f}, over {self.count} held-out portraits"
        )


def score(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Score:
    """Compare (true tags, said tags) of each portrait; the class is a list's first tag."""
    hits = said_total = true_total = classes = wholes = count = 0
    for true, said in pairs:
        hits += len(set(true) & set(said))
        said_total += len(set(said))
        true_total += len(set(true))
        classes += said[:1] == true[:1]
        wholes += set(said) == set(true)
        count += 1
    return Score(hits / max(1, said_total), hits / max(1, true_total), classes / count, wholes / count, count)
