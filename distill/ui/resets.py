"""Options that are not as the defaults, and their way back; javascript/distill_options.js shows both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from distill.ui import html, options_form
from distill.ui.gradio_compat import LIVE
from distill.ui.gradio_compat import html as text

Default = Callable[[str], Any]
"""Of an option's name: what the settings page has for it, None for nothing."""


def draw(parts: dict[str, Any], default: Default) -> None:
    """What only the script reads and writes."""
    hidden = ["distill-hidden"]
    marked = html.data("options", options_form.marked(default))
    text(marked, elem_id="distill_options", elem_classes=hidden)
    parts["changed"] = text("", elem_id="distill_changed", elem_classes=hidden)
    names: Any = gr.Textbox(label="Options to reset", elem_id="distill_reset_names", elem_classes=hidden)
    names.do_not_save_to_config = True
    parts["reset_names"] = names


def connect(parts: dict[str, Any], widgets: Sequence[Any], default: Default, counted: dict[str, Any]) -> dict[str, Any]:
    """`counted` is the event that follows when options have changed; returns the one that tells which differ."""
    defaults = {name: about["default"] for name, about in options_form.marked(default).items()}

    def changed(*values: Any) -> str:
        return html.data("changed", {"names": different(defaults, values)})

    def reset(names: str) -> list[Any]:
        wanted = names.partition("@")[0].split(",")
        return options_form.updates({name: defaults[name] for name in wanted if name in defaults}, options_form.NAMES)

    told: dict[str, Any] = {"fn": changed, "inputs": list(widgets), "outputs": [parts["changed"]], **LIVE}
    parts["reset_names"].change(reset, [parts["reset_names"]], list(widgets), **LIVE).then(**told).then(**counted)
    return told


def different(defaults: dict[str, Any], values: Sequence[Any]) -> list[str]:
    """The options whose widget does not show the default."""
    return [name for name, value in zip(options_form.NAMES, values) if not _same(defaults[name], value)]


def _same(wanted: Any, shown: Any) -> bool:
    if isinstance(wanted, str):
        return wanted == ("" if shown is None else str(shown).strip())
    if isinstance(shown, bool) or isinstance(wanted, bool) or not isinstance(shown, (int, float)):
        return bool(wanted == shown)
    return bool(abs(wanted - shown) <= 1e-9 * max(1e-6, abs(wanted)))
