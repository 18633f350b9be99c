"""What a person may want of a LoRA, as starting values for the options.

Measured in the pocket world (`benchmarks/fidelity.md`, "The goals"): Replicate shows most of the picture at full
weight, Character keeps its subject in other places. Style is not measured: nothing there judges how a picture is made.
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
        network_alpha=64.0,
        epochs=10,
        preferred_weight=1.0,
    ),
    _goal("Flexible", "Recognisable, and free to change with the prompt."),
    _goal(
        "Character",
        "Who is shown, in other places too: what the checkpoint says without words is held. A sixth more time.",
        teacher_blank=1.0,
        teacher_every=8,
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
