"""How a setting is declared, and checked when it is given."""

from __future__ import annotations

import math
from dataclasses import Field, field, fields
from typing import Any, ClassVar, get_type_hints

from distill.errors import OptionError


def option(
    default: Any,
    label: str,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] | None = None,
    private: bool = False,
) -> Any:
    """A dataclass field that carries its label, help and range (`ge` <= value <= `le`, or one of `choices`).

    A `private` one says something of the person's machine: it is written into no file that is passed on.
    """
    about = {"label": label, "help": help, "ge": ge, "le": le, "choices": choices, "private": private}
    return field(default=default, metadata=about)


class Checked:
    """Base of the option groups: refuses a value of the wrong kind or out of range when it is made."""

    title: ClassVar[str]

    def __init_subclass__(cls, title: str) -> None:
        cls.title = title  # of its accordion in the tab, of its flags on the command line

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            _check(f, hints[f.name], getattr(self, f.name))


def _check(f: Field[Any], kind: type, value: Any) -> None:
    meta, label = f.metadata, f"{f.metadata['label']} ({f.name})"
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise OptionError(f"{label} is {value!r}, which is not {_KINDS[kind]}.", "Nothing was started.")
    if meta["choices"] and value not in meta["choices"]:
        raise OptionError(f"{label} is {value!r}.", f"Choose one of: {', '.join(meta['choices'])}.")
    ge, le = meta["ge"], meta["le"]
    if isinstance(value, (int, float)) and not math.isfinite(value):
        raise OptionError(f"{label} is {value!r}, which is not a number.", "Nothing was started.")
    if (ge is not None and value < ge) or (le is not None and value > le):
        raise OptionError(f"{label} is {value}.", f"Choose a value from {ge} to {le}.")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
