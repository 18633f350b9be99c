"""kohya's ways of writing a value: numbers as text, "" for none, lists in one text, name=value pairs."""

from __future__ import annotations

import ast
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from distill.blocks import PRESETS, weights_of

SIDE = 12  # blocks of the UNet's one side


def is_set(value: Any) -> bool:
    """Whether a value says something: "", None, 0, "0" and False don't."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "0.0", "none", "false")
    return bool(value)


def number(value: Any) -> float | None:
    """A number from what may be text; None for none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        read = float(str(value).strip())
    except ValueError:
        return None
    return read if math.isfinite(read) else None


def as_kind(value: Any, kind: type) -> Any:
    """A value as an option of that kind wants it; what can't be is left for the option to refuse."""
    if kind is bool:
        return is_set(value)
    read = number(value)
    if kind is str or read is None:
        return value
    return int(read) if kind is int and read.is_integer() else read


def plain(value: float) -> float | int:
    """Without the digits that sums of binary fractions leave: 100 * 0.07 is 7."""
    rounded = float(f"{value:.10g}")
    return int(rounded) if rounded.is_integer() else rounded


def pairs(value: Any) -> dict[str, str]:
    """`"a=1" "b=2"`, `a=1 b=2` or ["a=1", "b=2"] as a mapping of texts. Raises ValueError."""
    given = [str(each) for each in value] if isinstance(value, list) else shlex.split(str(value or ""))
    return {name.strip(): text.strip().strip("\"'") for name, _, text in (each.partition("=") for each in given)}


def literal(text: str) -> Any:
    """A number, tuple or True from its text. Raises ValueError."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(text) from None


def arguments(text: str) -> dict[str, Any]:
    """`--a 1 --b --c x y` as keys and values; a bare one is True. Raises ValueError."""
    found: dict[str, Any] = {}
    name = ""
    for word in shlex.split(text):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value or True
        elif name:
            found[name] = word if found[name] is True else f"{found[name]} {word}"
    return found


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's settings without its sections, which have no meaning in sd-scripts."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= value if isinstance(value, Mapping) else {key: value}
    return found


def block_weights(down: Any, mid: Any, up: Any, threshold: float) -> str:
    """The option `block_weights` from kohya's three lists; "" when all learn alike. Raises ValueError."""
    weights = (*_side(down), *_numbers(mid, 1), *_side(up))
    kept = tuple(weight if weight > threshold else 0.0 for weight in weights)
    if set(kept) == {1.0}:
        return ""
    named = next((name for name, preset in PRESETS.items() if tuple(map(float, preset)) == kept), "")
    return named or ",".join(f"{weight:.10g}" for weight in kept)


def three_lists(text: str) -> tuple[str, str, str]:
    """The inverse, of weights that are not all alike."""
    weights = [f"{weight:.10g}" for weight in weights_of(text)]
    return ",".join(weights[:SIDE]), weights[SIDE], ",".join(weights[SIDE + 1 :])


def _side(value: Any) -> Sequence[float]:
    text = str(value if value is not None else "").strip()
    if not text or text[0] in "0123456789.,":
        return _numbers(text, SIDE)
    name, _, base = text.partition("+")
    rising = [i / (SIDE - 1) for i in range(SIDE)]
    curves = {  # sd-scripts' networks/lora.py, get_block_lr_weight
        "sine": [math.sin(math.pi * x / 2) for x in rising],
        "cosine": [math.sin(math.pi * x / 2) for x in reversed(rising)],
        "linear": rising,
        "reverse_linear": rising[::-1],
        "zeros": [0.0] * SIDE,
    }
    if name not in curves:
        raise ValueError(text)
    return [weight + float(base or 0) for weight in curves[name]]


def _numbers(value: Any, count: int) -> Sequence[float]:
    """Missing ones are 1, empty ones 0, those too many left out: as sd-scripts."""
    text = str(value if value is not None else "").strip()
    given = [float(part) if part.strip() else 0.0 for part in text.split(",")] if text else []
    return (given + [1.0] * count)[:count]
