"""A preset: a whole recipe under a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from distill import recipe
from distill.errors import OptionError
from distill.options import Options


@dataclass(frozen=True)
class Preset:
    """`values` are all options of a recipe by their flat names."""

    name: str
    help: str
    values: Mapping[str, Any]
    is_own: bool = False  # the person saved it, and may delete it

    @property
    def differing(self) -> dict[str, Any]:
        """What is not as the defaults."""
        return recipe.differing(self.values)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the command line and the API."""
        return {"name": self.name, "help": self.help, "own": self.is_own, "options": self.differing}


def preset(name: str, help: str, values: Mapping[str, Any], *, is_own: bool = False) -> Preset:
    """From what differs from the defaults. Raises OptionError."""
    return Preset(name, help, MappingProxyType(recipe.complete(values)), is_own)


def with_preset(chosen: Preset | None, values: Mapping[str, Any]) -> Options:
    """The options that a preset and `values` over it make. Raises OptionError."""
    return Options.from_flat({**(chosen.values if chosen else {}), **values})


def find(name: str, presets: Iterable[Preset]) -> Preset:
    """The preset of that name, whatever the case of its letters. Raises OptionError."""
    by_name = {each.name.casefold(): each for each in presets}
    wanted = " ".join(name.split()).casefold()
    if wanted not in by_name:
        near = get_close_matches(wanted, by_name, n=1)
        names = ", ".join(each.name for each in by_name.values())
        hint = f"Did you mean {by_name[near[0]].name!r}?" if near else f"There are: {names}."
        raise OptionError(f"There is no preset {name[:60]!r}.", hint)
    return by_name[wanted]
