"""What a person may want of a LoRA, as starting values for the options.

They follow the recipes that users of other trainers publish ("One Image": rank 64, alpha 32, weight 1.0 replicates and
0.6 varies; "Single Image LoRA, Part 2": rank 16, 10 repeats x 10 epochs). They are starting points and not measured
here yet: nothing in the tab says that one is better than another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from distill import recipe


@dataclass(frozen=True)
class Goal:
    """One choice: `values` are options by their flat names."""

    label: str
    help: str
    values: Mapping[str, Any]


def _goal(label: str, help: str, **values: Any) -> Goal:
    # All options of a recipe, so that going from one to another leaves nothing behind.
    return Goal(label, help, MappingProxyType(recipe.complete(values)))


GOALS: tuple[Goal, ...] = (
    _goal(
        "Replicate",
        "As close to the picture as can be: a larger LoRA, trained longer, used at full weight.",
        network_dim=64,
        network_alpha=32.0,
        epochs=10,
        shuffle=False,
        preferred_weight=1.0,
    ),
    _goal("Flexible", "Recognisable, and free to change with the prompt."),
    _goal(
        "Character",
        "Who is shown, less how: shorter epochs at a steady rate, so that one of them fits.",
        repeats=12,
        epochs=10,
        lr_scheduler="constant",
        preferred_weight=0.8,
    ),
    _goal(
        "Style",
        "How it is made, less who is shown: learns from the mirrored picture too.",
        network_alpha=8.0,
        flip=True,
        preferred_weight=0.8,
    ),
)

DEFAULT = "Flexible"


def goal(label: str) -> Goal:
    """The goal with that label."""
    return next(goal for goal in GOALS if goal.label == label)
