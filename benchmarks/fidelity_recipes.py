"""The recipes that are compared, as options."""

from __future__ import annotations

from typing import Any

from distill.options import Options
from distill.presets import BUILT_IN, find

_PLAIN = {"lr_scheduler": "constant", "lr_warmup": 0.0, "shuffle": False}

RECIPES: dict[str, dict[str, Any]] = {
    "ours": {},
    **{name: dict(find(name, BUILT_IN).values) for name in ("One Image", "Part 2", "Distillery")},
    **{f"plain {rank}": {**_PLAIN, "network_dim": rank, "network_alpha": float(rank)} for rank in (4, 16, 64)},
}


def values(recipe: str) -> dict[str, Any]:
    """Of a recipe by its name, or written out: `unet_lr=2e-3,network_dim=4`, on top of our defaults."""
    if recipe in RECIPES:
        return RECIPES[recipe]
    kinds = Options().flat()
    pairs = [pair.split("=", 1) for pair in recipe.split(",")]
    return {name: text == "True" if isinstance(kinds[name], bool) else type(kinds[name])(text) for name, text in pairs}
