"""The recipes that are compared, as options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fidelity_page import TAUGHT

from distill.goals import GOALS
from distill.options import Options
from distill.presets import BUILT_IN, find

POCKET = {"view_min_px": 128}
"""The pocket checkpoint's own size, as 320 is near SD1.5's."""

_PLAIN = {
    **{"lr_scheduler": "constant", "lr_warmup": 0.0, "shuffle": False, "unet_lr": 1e-3, "loraplus_lr_ratio": 1.0},
    **{"min_snr_gamma": 0.0, "batch_size": 1, "repeats": 20, "epochs": 6},
}

RECIPES: dict[str, dict[str, Any]] = {
    "ours": {},
    **{name: dict(find(name, BUILT_IN).values) for name in ("One Image", "Part 2", "Distillery")},
    **{goal.label: dict(goal.values) for goal in GOALS},
    TAUGHT: {"teacher_blank": 0.25},
    "One Image, our rate": {**find("One Image", BUILT_IN).values, "unet_lr": 1e-3, "text_encoder_lr": 5e-4},
    "kohya_ss": {
        **find("One Image", BUILT_IN).values,
        **{"network_dim": 8, "network_alpha": 1.0, "keep_tokens": 0},  # the page of the GUI as it opens
    },
    **{f"plain {rank}": {**_PLAIN, "network_dim": rank, "network_alpha": float(rank)} for rank in (4, 16, 64)},
    "plain 16, 1e-4": {**_PLAIN, "network_dim": 16, "network_alpha": 16.0, "unet_lr": 1e-4},  # kohya_ss' rate
}

_ALL = {"tuning": False, "seeds": 4, "weights": [0.8], "samples": []}
PUBLISHED: tuple[dict[str, Any], ...] = (
    {**_ALL, "total": 120, "recipes": ["ours"], "weights": [0.8, 0.6, 1.0], "samples": [48, 84, 120]},
    {**_ALL, "total": 120, "recipes": ["One Image", "Part 2", "kohya_ss", "plain 4"]},
    {**_ALL, "total": 120, "recipes": ["plain 16", "plain 64"], "weights": [0.8, 1.0]},
    # the same time as ours, as far as epochs are apart
    {**_ALL, "total": 90, "recipes": ["plain 16", "plain 64", "kohya_ss"]},
    {**_ALL, "total": 100, "recipes": ["plain 4"]},
    {**_ALL, "total": 80, "recipes": ["One Image"]},
    # the tab's
    {**_ALL, "total": 120, "recipes": ["Character"], "weights": [0.8, 0.6]},
    {**_ALL, "total": 200, "recipes": ["Replicate"], "weights": [1.0, 0.8]},
)
"""What `fidelity.md` shows, as arguments of runs."""


def values(recipe: str) -> dict[str, Any]:
    """Of a recipe by its name, or written out: `unet_lr=2e-3,network_dim=4`, on top of our defaults."""
    if recipe in RECIPES:
        return RECIPES[recipe]
    kinds = Options().flat()
    pairs = [pair.split("=", 1) for pair in recipe.split(",")]
    return {name: text == "True" if isinstance(kinds[name], bool) else type(kinds[name])(text) for name, text in pairs}


def at_samples(options: Options, total: int, pictures: int) -> Options:
    """The recipe in about so many samples, in ten epochs; 0: as it is. `pictures` are the picture and its views."""
    if not total:
        return options
    train, batch = options.train, options.train.batch_size
    once = (1 if train.repeats_of == "epoch" else pictures) * (
        1 if options.regularization.reg_pictures == "none" else 2
    )
    repeats = max(1, total // (10 * once))
    if once == 1:
        repeats = -(-repeats // batch) * batch
    return replace(options, train=replace(train, repeats=repeats, epochs=max(1, round(total / (once * repeats)))))


def batch_of(options: Options) -> int:
    """Samples of one step."""
    return options.train.batch_size * options.train.gradient_accumulation
