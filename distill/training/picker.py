"""Which of the epochs fits: what the meters say, weighed by what the person wants.

    worth = fit - cost x harm,  harm = bleed + leak + (1 - edit)

A faithful LoRA may do more harm for the same fit than a flexible one. The balanced cost is the one with which the picks
came closest to the judge's best in the pocket world, on subjects for tuning (`benchmarks/fidelity_picks.py --search`).
"""

from __future__ import annotations

from collections.abc import Sequence

from distill.training.meters import Reading

COSTS = {"flexible": 0.7, "balanced": 0.2, "faithful": 0.0}
"""What harm costs in fit."""

GAIN = 0.02
"""Of worth; what is less is no gain."""

PATIENCE = 2
"""Readings without a gain after which more training brings nothing."""

LEARNING, GOOD, OVERFITTING = "learning", "good", "overfitting"


def harm(reading: Reading) -> float:
    """What it does where nobody asked it to; 0 for a LoRA that does nothing."""
    return reading.bleed + max(reading.leak, 0.0) + 1 - reading.edit


def worth(reading: Reading, taste: str) -> float:
    """Of one epoch, for a taste out of `COSTS`."""
    return reading.fit - COSTS[taste] * harm(reading)


def pick(readings: Sequence[Reading], taste: str) -> int:
    """The place of the epoch that is worth most; the earlier one where two are the same."""
    return max(range(len(readings)), key=lambda i: (worth(readings[i], taste), -i))


def picks(readings: Sequence[Reading]) -> dict[str, int]:
    """Taste -> place, for all tastes; empty without readings."""
    return {taste: pick(readings, taste) for taste in COSTS} if readings else {}


def gains_nothing(readings: Sequence[Reading]) -> bool:
    """Whether the last `PATIENCE` readings brought no gain for the balanced taste."""
    if len(readings) <= PATIENCE:
        return False
    worths = [worth(reading, "balanced") for reading in readings]
    return max(worths[-PATIENCE:]) < max(worths[:-PATIENCE]) + GAIN


def verdict(readings: Sequence[Reading]) -> str:
    """How the last one stands: LEARNING, GOOD or OVERFITTING."""
    worths = [worth(reading, "balanced") for reading in readings]
    if worths[-1] < max(worths) - GAIN:
        return OVERFITTING
    if len(worths) < PATIENCE or worths[-1] >= worths[-PATIENCE] + GAIN:
        return LEARNING
    return GOOD
