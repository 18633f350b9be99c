"""Goals are options that the options take."""

import pytest

from distill.goals import DEFAULT, GOALS, goal
from distill.options import Options


@pytest.mark.parametrize("chosen", GOALS, ids=lambda chosen: chosen.label)
def test_a_goal_s_values_are_options(chosen):
    flat = Options.from_flat(chosen.values).flat()
    assert chosen.values.items() <= flat.items()
    assert chosen.help.endswith(".")


def test_every_goal_sets_the_same_options():
    assert len({frozenset(chosen.values) for chosen in GOALS}) == 1


def test_the_default_goal_is_the_defaults():
    assert Options.from_flat(goal(DEFAULT).values) == Options()


def test_goals_differ():
    assert len({tuple(sorted(chosen.values.items())) for chosen in GOALS}) == len(GOALS) == 4
