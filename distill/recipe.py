"""What makes a recipe, and what is the person's own.

A preset sets every option of a recipe, so that going from one to another leaves nothing behind. It never touches the
others: what belongs to one picture, to the machine or to the person's habits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.options import Options, each_option

PERSONAL: dict[str, str] = {
    "name": "of this one LoRA",
    "trigger": "of this one LoRA",
    "seed": "of this one training",
    "captioner": "what this machine has",
    "endpoint": "what this machine reaches",
    "endpoint_model": "what this machine reaches",
    "upscaler": "what this machine has",
    "reg_folder": "a folder of this machine",
    "gradient_checkpointing": "what this machine's memory needs; the result is the same",
    "encode_ahead": "what this machine does meanwhile; the result is the same",
    "cuda_graph": "what this machine's card can; the result is the same",
    "prediction": "of the checkpoint",
    "negative": "how pictures are made with it later",
    "sample_steps": "how pictures are made with it later",
    "cfg_scale": "how pictures are made with it later",
    "width": "how pictures are made with it later",
    "height": "how pictures are made with it later",
    "count": "how pictures are made with it later",
    "sample_seed": "how pictures are made with it later",
    "sample_every": "what is seen while it trains",
    "meters": "what is seen while it trains",
    "preview": "what is made for its card",
    "keep_state": "what is kept in case of a crash",
    "log": "what is noted while it trains",
}
"""Options that no preset sets or keeps, each with what it is of."""

DEFAULTS: dict[str, Any] = {name: value for name, value in Options().flat().items() if name not in PERSONAL}
"""Every option of a recipe with its default, in the order in which they are shown."""

LABELS: dict[str, str] = {f.name: f.metadata["label"] for _, f, _ in each_option()}
"""Of all options by their names."""


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A whole recipe from what differs from the defaults. Raises OptionError for what an option does not take."""
    flat = Options.from_flat({**DEFAULTS, **values}).flat()
    return {name: flat[name] for name in DEFAULTS}


def check(name: str, value: Any) -> None:
    """Raises OptionError when the option does not take that value, whatever the others are."""
    _GROUPS[name](**{name: value})


_GROUPS = {f.name: group for group, f, _ in each_option()}


def of_options(options: Options) -> dict[str, Any]:
    """The recipe in some options."""
    flat = options.flat()
    return {name: flat[name] for name in DEFAULTS}


def differing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a recipe that are not as the defaults."""
    return {name: value for name, value in values.items() if name in DEFAULTS and value != DEFAULTS[name]}
