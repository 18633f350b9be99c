"""Widgets made from options/, and their values read back into options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field
from typing import Any

import gradio as gr

from distill.errors import OptionError
from distill.options import GROUPS, Checked, Options, each_option
from distill.ui.looks import LOOKS

NAMES = tuple(f.name for _, f, _ in each_option())
"""Of all options, in the order in which `read` takes their values."""

_STEPS = {
    "resolution": 64,
    "repeats": 1,
    "epochs": 1,
    "batch_size": 1,
    "network_dim": 1,
    "keep_tokens": 1,
    "clip_skip": 1,
    "sample_steps": 1,
    "sample_every": 1,
    "cfg_scale": 0.5,
    "lr_warmup": 0.01,
    "max_token_length": 75,
    "conv_dim": 1,
    "noise_offset": 0.01,
    "min_snr_gamma": 0.5,
    "timestep_lean": 0.01,
    "preferred_weight": 0.05,
}
"""Options that are dragged, with the slider's step; other numbers are typed."""


def accordions(default: Callable[[str], Any], leave_out: Sequence[str]) -> dict[str, Any]:
    """One folded part per group of options, two widgets abreast; the widgets by option name."""
    made: dict[str, Any] = {}
    for group in GROUPS:
        shown = [(f, kind) for g, f, kind in each_option() if g is group and f.name not in leave_out]
        with gr.Accordion(group.title, open=False, elem_id=_id_of(group)):
            for i in range(0, len(shown), 2):
                with gr.Row():
                    made |= {f.name: widget(f, kind, default(f.name)) for f, kind in shown[i : i + 2]}
    return made


def marked(default: Callable[[str], Any]) -> dict[str, dict[str, Any]]:
    """For javascript/distill_options.js: the value that each option goes back to, its place, what it looks like."""
    return {
        f.name: {"default": _usable(f, kind, default(f.name)), "group": _id_of(g), "looks": LOOKS.get(f.name, "")}
        for g, f, kind in each_option()
    }


def _id_of(group: type[Checked]) -> str:
    return f"distill_group_{group.title.split()[0].lower()}"


def widget(f: Field[Any], kind: type, value: Any = None) -> Any:
    """The component for one option; `value` replaces the option's default where it is one that the option takes."""
    meta = f.metadata
    common = {
        "value": _usable(f, kind, value),
        "label": meta["label"],
        "info": meta["help"],
        "elem_id": f"distill_{f.name}",
    }
    if kind is bool:
        return gr.Checkbox(**common)
    if meta["choices"]:
        return gr.Radio(choices=list(meta["choices"]), **common)
    if f.name in _STEPS:
        return gr.Slider(minimum=meta["ge"], maximum=meta["le"], step=_STEPS[f.name], **common)
    if kind is str:
        return gr.Textbox(max_lines=1, **common)
    return gr.Number(precision=0 if kind is int else None, **common)


def _usable(f: Field[Any], kind: type, value: Any) -> Any:
    """A settings page may hold a value of older days: the option's own default then."""
    if value is None:
        return f.default
    try:
        return Options.from_flat({f.name: coerced(f.name, kind, value)}).flat()[f.name]
    except OptionError:
        return f.default


def read(values: Sequence[Any]) -> Options:
    """The options from the widgets' values, in the order of `NAMES`. Raises OptionError naming the widget."""
    kinds = {f.name: kind for _, f, kind in each_option()}
    return Options.from_flat({name: coerced(name, kinds[name], value) for name, value in zip(NAMES, values)})


def coerced(name: str, kind: type, value: Any) -> Any:
    """A widget's value as the option wants it: gradio gives None for empty, 16.0 for 16, 0.6000000000000001 for 0.6."""
    if kind is bool:
        return bool(value)
    if kind is str:
        return "" if value is None else str(value).strip()
    if value is None or value == "":
        raise OptionError(f"{_label(name)} is empty.", "Type a number.")
    if not isinstance(value, (int, float)):
        return value  # the option itself says what is wrong with it
    if kind is int and float(value).is_integer():
        return int(value)
    return float(f"{value:.10g}") if kind is float else value


def _label(name: str) -> str:
    return next(str(f.metadata["label"]) for _, f, _ in each_option() if f.name == name)


def updates(values: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """For the widgets called `names`: the new value, or nothing."""
    return [gr.update(value=values[name]) if name in values else gr.update() for name in names]
