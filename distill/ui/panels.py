"""The tab's parts, drawn: which components there are and where they stand. What they do is in handlers.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from distill import goals
from distill.captions.tokens import READ_TOKENS
from distill.options import CaptionOptions
from distill.ui import captioner_panel, chips, html, options_form, presets_panel, resets, residue_panel, views_panel
from distill.ui.gradio_compat import html as text
from distill.ui.gradio_compat import picture
from distill.ui.prompt import WORDS
from distill.ui.surroundings import Surroundings

USE = {"txt2img": "Use in txt2img", "img2img": "Use in img2img", "inpaint": "Use in inpaint"}


@dataclass
class Page:
    """All components by name, and the widgets of the options by the option's name."""

    parts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """`page.captions` for `page.parts["captions"]`."""
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def widgets(self) -> list[Any]:
        """Of the options, in the order of `options_form.NAMES`."""
        return [self.options[name] for name in options_form.NAMES]


def draw(surroundings: Surroundings) -> Page:
    """The whole tab inside the gr.Blocks that is open."""
    page = Page()
    with gr.Column(elem_id="distill_root"):
        _hidden(page)
        page.parts["banner"] = text(html.banner(surroundings.banner), elem_id="distill_banner")
        _cut_off(page)
        with gr.Row(elem_id="distill_first"):
            with gr.Column(scale=5, min_width=300, elem_id="distill_left"):
                _picture(page)
            with gr.Column(scale=6, min_width=300, elem_id="distill_right"):
                _captions(page, surroundings)
                _order(page, surroundings)
        views_panel.draw(page.parts)
        with gr.Column(elem_id="distill_job"):
            _running(page)
            _after(page, surroundings)
        with gr.Column(elem_id="distill_settings"):
            elsewhere = ("name", "identity", *captioner_panel.OPTIONS)
            page.options |= options_form.accordions(surroundings.default, leave_out=elsewhere)
            resets.draw(page.parts, surroundings.default)
    return page


def _hidden(page: Page) -> None:
    """What only the scripts in javascript/ press and read."""
    text(html.vocabulary(chips.vocabulary()), elem_id="distill_vocabulary", elem_classes=["distill-hidden"])
    page.parts |= {
        "shown": gr.State({}),
        "draft": gr.State(None),
        "proposed": gr.State(""),
        "state": text(html.state({"state": "idle"}), elem_id="distill_state", elem_classes=["distill-hidden"]),
        "tick": gr.Button("Tick", elem_id="distill_tick", elem_classes=["distill-hidden"]),
        "recount": gr.Button("Recount", elem_id="distill_recount", elem_classes=["distill-hidden"]),
        "restore": gr.Button("Restore", elem_id="distill_restore", elem_classes=["distill-hidden"]),
        "discard": gr.Button("Discard now", elem_id="distill_discard", elem_classes=["distill-hidden"]),
        "chosen": _not_kept(gr.Textbox(label="Chosen LoRA", elem_id="distill_chosen", elem_classes=["distill-hidden"])),
    }


def _cut_off(page: Page) -> None:
    with gr.Row(elem_id="distill_cut_off"):
        page.parts["cut_off"] = text("", elem_id="distill_cut_off_text")
        page.parts["go_on"] = gr.Button("Go on", size="sm", variant="primary", elem_id="distill_go_on")
        page.parts["dismiss"] = gr.Button("Dismiss", size="sm", elem_id="distill_dismiss")


def _picture(page: Page) -> None:
    parts = page.parts
    parts["picture"] = picture(label="Picture", elem_id="distill_picture", height=400)
    with gr.Row(elem_id="distill_url_row", elem_classes=["distill-line"]):
        parts["url"] = _not_kept(
            gr.Textbox(
                show_label=False,
                container=False,
                label="Address of a picture",
                placeholder="Address of a picture (https://...)",
                max_lines=1,
                scale=4,
                elem_id="distill_url",
            )
        )
        parts["load"] = gr.Button("Load", scale=1, min_width=70, elem_id="distill_load")
    parts["last"] = gr.Button("From the last generated picture", elem_id="distill_last")
    parts["notes"] = text("", elem_id="distill_notes")


def _captions(page: Page, surroundings: Surroundings) -> None:
    parts = page.parts
    text(html.editor("distill_captions"), elem_id="distill_chips")
    parts["captions"] = _not_kept(
        gr.Textbox(
            label="Captions",
            info="Name what should stay changeable. Trigger and class come first by themselves.",
            placeholder="red hair, green eyes, white shirt, in front of a brick wall",
            lines=2,
            elem_id="distill_captions",
            elem_classes=["distill-caption-box"],
        )
    )
    with gr.Row(elem_classes=["distill-line"], elem_id="distill_counter_row"):
        parts["counter"] = text(html.counter(0, READ_TOKENS, {}), elem_id="distill_counter")
        for name, label in BUTTONS.items():
            parts[name] = gr.Button(label, scale=0, min_width=110, elem_id=f"distill_{name}")
    parts["remarks"] = text("", elem_id="distill_remarks")
    parts["said"] = text("", elem_id="distill_said")
    page.options["identity"] = _identity(surroundings.default("identity"))
    _proposal(page)
    captioner_panel.draw(parts, page.options, surroundings)


BUTTONS = {
    "ground": "Check words",
    "ground_stop": "Stop checking",
    "describe": "Describe",
    "describe_stop": "Stop",
}
"""Beside the counter; of each two, style.css shows the one that has something to do."""

IDENTITY = {"changeable": "keep it changeable", "locked": "lock it into the trigger"}


def _identity(default: Any) -> Any:
    meta = CaptionOptions.__dataclass_fields__["identity"].metadata
    return _not_kept(
        gr.Radio(
            [(label, value) for value, label in IDENTITY.items()],
            value=default if default in IDENTITY else "changeable",
            label=meta["label"],
            info=meta["help"],
            elem_id="distill_identity",
        )
    )


def _proposal(page: Page) -> None:
    """What the captioner says when the person has written already; style.css shows it when there is one."""
    parts = page.parts
    with gr.Column(elem_id="distill_proposal_box"):
        text(html.editor("distill_proposal", "take"), elem_id="distill_proposal_chips")
        parts["proposal"] = _not_kept(
            gr.Textbox(
                label="Proposed captions",
                elem_id="distill_proposal",
                elem_classes=["distill-caption-box", "distill-hidden"],
            )
        )
        with gr.Row(elem_classes=["distill-line"], elem_id="distill_proposal_row"):
            gr.Button("Take all new", size="sm", elem_id="distill_take_all")
            parts["use_proposal"] = gr.Button("Replace mine", size="sm", elem_id="distill_use_proposal")
            gr.Button("Dismiss", size="sm", elem_id="distill_dismiss_proposal")


def _order(page: Page, surroundings: Surroundings) -> None:
    parts = page.parts
    page.options["name"] = _not_kept(
        gr.Textbox(
            label="Name",
            placeholder="empty: made from the trigger",
            max_lines=1,
            elem_id="distill_name",
        )
    )
    parts["goal"] = gr.Radio(
        [goal.label for goal in goals.GOALS],
        value=goals.DEFAULT,
        label="Goal",
        elem_id="distill_goal",
    )
    presets_panel.draw(parts)
    parts["go"] = gr.Button("Distill", variant="primary", elem_id="distill_go", interactive=not surroundings.banner)
    parts["cost"] = text("", elem_id="distill_cost")
    # Its line is there before the server's first word, else the picture below it moves under the pointer.
    parts["checkpoint"] = text(html.checkpoint("", ""), elem_id="distill_checkpoint")
    parts["message"] = text("", elem_id="distill_message")


def _running(page: Page) -> None:
    parts = page.parts
    # The WebUI draws its own bar into the outer element, before the inner one.
    text('<div class="distill-progress"><div data-bar></div></div>', elem_id="distill_progress")
    parts["status"] = text("", elem_id="distill_status")
    text('<div aria-live="polite" class="distill-unseen" data-live></div>', elem_id="distill_live")
    parts["loss"] = text("", elem_id="distill_loss")
    with gr.Row(elem_id="distill_stops", elem_classes=["distill-line"]):
        parts["stop"] = gr.Button("Stop and keep", elem_id="distill_stop")
        parts["ask_discard"] = gr.Button("Discard", elem_id="distill_discard_ask")
    parts["strip"] = text("", elem_id="distill_strip")
    parts["meters"] = text("", elem_id="distill_readings")


def _after(page: Page, surroundings: Surroundings) -> None:
    parts = page.parts
    marks = "".join(f'<button type="button" data-weight="{w:g}"><b>{w:.1f}</b> {word}</button>' for w, word in WORDS)
    with gr.Column(elem_id="distill_after"):
        with gr.Row(elem_id="distill_after_row"):
            with gr.Column(scale=2, min_width=280):
                parts["weight"] = _not_kept(
                    gr.Slider(0, 1.5, value=0.6, step=0.05, label="Weight", elem_id="distill_weight")
                )
                text(f'<div class="distill-marks">{marks}</div>', elem_id="distill_weight_marks")
            with gr.Column(scale=3, min_width=280):
                parts["prompt"] = _not_kept(gr.Textbox(label="Prompt", lines=3, elem_id="distill_prompt"))
        with gr.Row(elem_id="distill_uses", elem_classes=["distill-line"]):
            for tab in surroundings.tabs:
                variant: Any = "primary" if tab == "txt2img" else "secondary"
                parts[f"use_{tab}"] = gr.Button(USE[tab], variant=variant, elem_id=f"distill_use_{tab}")
            parts["copy"] = gr.Button("Copy", elem_id="distill_copy")
        residue_panel.draw(parts)


def _not_kept(component: Any) -> Any:
    """What a person writes for one picture is no default to be kept in the WebUI's ui-config.json."""
    component.do_not_save_to_config = True
    return component
