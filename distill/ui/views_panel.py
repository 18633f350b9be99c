"""Views, a mask, further pictures: drawn on the page by javascript/distill_views*.js, read here."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from distill.captions import framing
from distill.captions import tags as tag_text
from distill.errors import DistillError, PictureError
from distill.image.loading import load
from distill.image.masks import subject_mask
from distill.image.views import ALL, proposed
from distill.jobs import Jobs
from distill.plan import Plan
from distill.plan_values import MAX_SHOTS
from distill.ui import html, options_form, plan_form
from distill.ui.draft import Draft
from distill.ui.gradio_compat import LATEST, LIVE, SLOW
from distill.ui.gradio_compat import html as text
from distill.ui.plan_form import Further

HIDDEN = ["distill-hidden"]
INPUTS = ("plan_views", "plan_mask", "plan_listed", "plan_added")
"""What `plan` reads, behind the widgets of the options."""

_BOXES = {"plan_views": "Views drawn", "plan_mask": "Mask drawn", "plan_listed": "Further pictures", "plan_asked": "Of"}
_BUTTONS = {
    "plan_propose": "Propose now",
    "plan_use_mask": "Show the mask now",
    "plan_describe": "Describe that",
    "plan_inherit": "Say what views inherit",
}


def draw(parts: dict[str, Any]) -> None:
    """The folded panel, the line that says what was drawn, and what only the scripts press and read."""
    parts["plan_added"] = gr.State([])
    for name, label in _BOXES.items():
        box: Any = gr.Textbox(label=label, max_lines=1, elem_id=f"distill_{name}", elem_classes=HIDDEN)
        box.do_not_save_to_config = True
        parts[name] = box
    for name, label in _BUTTONS.items():
        parts[name] = gr.Button(label, elem_id=f"distill_{name}", elem_classes=HIDDEN)
    for name in ("plan_picture", "plan_given", "plan_used", "plan_described", "plan_inherited", "plan_said"):
        parts[name] = text("", elem_id=f"distill_{name}", elem_classes=HIDDEN)
    with gr.Accordion("Views, mask, more pictures", open=False, elem_id="distill_plan_panel"):
        text("<div data-plan-board></div>", elem_id="distill_plan_board")
        text("<div data-plan-more></div>", elem_id="distill_plan_more")
        parts["plan_add"] = gr.UploadButton(
            "Add pictures of the same subject", file_count="multiple", size="sm", elem_id="distill_plan_add"
        )
        parts["plan_more_said"] = text("", elem_id="distill_plan_more_said")
    # Below the panel: above it, it would push away the picture that is being drawn on.
    text("<div data-plan-line></div>", elem_id="distill_plan_line")


def connect(parts: dict[str, Any], widgets: list[Any], jobs: Jobs) -> None:
    """Wire the panel's events."""
    does = PlanHandlers(jobs)
    draft, added = parts["draft"], parts["plan_added"]
    parts["plan_propose"].click(does.propose, [draft, *widgets], [parts["plan_views"], parts["plan_said"]], **SLOW)
    parts["plan_use_mask"].click(
        does.used_mask, [draft, parts["plan_mask"], *widgets], [parts["plan_used"], parts["plan_said"]], **SLOW
    )
    parts["plan_add"].upload(
        does.add,
        [parts["plan_add"], added, parts["plan_listed"]],
        [added, parts["plan_given"], parts["plan_more_said"]],
        **SLOW,
    )
    asked = [parts["plan_asked"], added, parts["endpoint_key"], *widgets]
    parts["plan_describe"].click(does.describe, asked, [parts["plan_described"], parts["plan_more_said"]], **SLOW)
    said = [parts["captions"], parts["plan_views"]]
    parts["plan_inherit"].click(inherited, said, [parts["plan_inherited"]], **LIVE, **LATEST)
    restored = [*(parts[name] for name in INPUTS), parts["plan_given"]]
    parts["restore"].click(does.restore, None, restored, **LIVE)


def showing(parts: dict[str, Any], widgets: list[Any]) -> dict[str, Any]:
    """The event that shows the picture in the panel, once it was looked at."""
    return {"fn": show, "inputs": [parts["draft"], *widgets], "outputs": [parts["plan_picture"]], **LIVE}


def inputs(parts: dict[str, Any]) -> list[Any]:
    """What an order has to read beside the options' widgets."""
    return [parts[name] for name in INPUTS]


def plan(picture: Image.Image, values: Sequence[Any]) -> Plan:
    """Of an order for `picture`; `values` are those of `inputs`, or none. Raises PictureError, CaptionError."""
    if len(values) != len(INPUTS):
        return Plan()
    drawn, mask, listed, added = values
    mark = plan_form.mark_of(load(picture).image) if drawn or mask else ""
    return plan_form.read(drawn, mask, listed, added or [], mark)


def counted(values: Sequence[Any]) -> Plan:
    """The plan as far as steps are counted; the default one where it can't be read, which the order will say."""
    try:
        if len(values) != len(INPUTS):
            return Plan()
        drawn, _, listed, added = values
        return plan_form.read(drawn, "", listed, added or [], "")
    except DistillError:
        return Plan()


def show(draft: Draft | None, *values: Any) -> str:
    """-> the picture to draw on, for the scripts."""
    if draft is None:
        return html.data("plan", {"picture": ""})
    image = draft.prepared.picture.image
    return html.data("plan", {"picture": plan_form.mark_of(image), "src": _jpeg(image), "size": list(image.size)})


def inherited(captions: str, drawn: str) -> str:
    """-> for the scripts, the captions that each view has unless others are written for it."""
    try:
        views = plan_form.read(drawn, "", "", (), "").views or ()
    except DistillError:
        views = ()  # it is told when somebody orders it
    tags = tag_text.parse(captions or "")
    said = [tag_text.join(framing.of_view(tags, view.words)) for view in views]
    return html.data("plan", {"of": captions or "", "views": said})


class PlanHandlers:
    """What the panel's buttons do."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def propose(self, draft: Draft | None, *values: Any) -> tuple[Any, str]:
        """-> the views that the options propose (all, when they name none), how they were found."""
        try:
            image = _looked(draft).prepared.picture.image
            options = options_form.read(values).picture
            views, notes = proposed(image, options if options.views else replace(options, views=ALL))
        except DistillError as error:
            return gr.update(), html.problem(error.message, error.hint)
        drawn = plan_form.views_text(views, plan_form.mark_of(image)) if views else gr.update()
        return drawn, html.notes(notes)

    def used_mask(self, draft: Draft | None, mask: str, *values: Any) -> tuple[str, str]:
        """-> the mask that training will use, for the scripts; what is to say of it."""
        try:
            picture = _looked(draft).prepared.picture
            drawn = plan_form.read("", mask, "", (), plan_form.mark_of(picture.image)).mask
            found, notes = subject_mask(picture, drawn, options_form.read(values).picture)
        except DistillError as error:
            return html.data("plan", {"at": time.time_ns()}), html.problem(error.message, error.hint)
        if found is None:
            said = notes or ("No mask is used: the whole picture counts.",)
            return html.data("plan", {"at": time.time_ns()}), html.notes(said)
        small = plan_form.shown(found)
        tinted = Image.merge("RGBA", [Image.new("L", small.size, level) for level in (46, 144, 250)] + [small])
        return html.data("plan", {"at": time.time_ns(), "mask": plan_form.png_url(tinted)}), html.notes(notes)

    def add(self, files: Any, added: list[Further], listed: str) -> tuple[list[Further], str, str]:
        """Files were chosen -> the added pictures, the same for the scripts, what went wrong."""
        problems: list[str] = []
        fresh: list[Further] = []
        room = MAX_SHOTS - len(plan_form.kept(listed, added))
        for file in files if isinstance(files, list) else [files]:
            path = Path(getattr(file, "name", None) or str(file))
            try:
                if len(fresh) >= room:
                    raise PictureError("No more pictures fit.", f"{MAX_SHOTS} further ones are the most.")
                fresh.append(Further(load(path)))
            except DistillError as error:
                problems.append(html.problem(f"{path.name}: {error.message}", error.hint))
        added = [*added, *fresh]
        return added, _given(added), "".join(problems)

    def describe(self, asked: str, added: list[Further], key: str, *values: Any) -> tuple[str, str]:
        """-> what the captioner says of the picture with the id `asked`, for the scripts; who said it or why not."""
        answer: dict[str, Any] = {"id": asked, "at": time.time_ns()}
        try:
            picture = next((further.picture for further in added if further.id == asked), None)
            if picture is None:
                raise PictureError("This picture is not there any more.", "Add it again.")
            found = self._jobs.caption(picture.image, options_form.read(values).caption, key or "")
        except DistillError as error:
            return html.data("plan", answer), html.problem(error.message, error.hint)
        if not found.tags:
            problem = html.problem("No captioner is set, or it saw nothing.", "Write the captions yourself.")
            return html.data("plan", answer), problem
        return html.data("plan", answer | {"captions": tag_text.join(found.tags)}), html.notes(found.notes)

    def restore(self) -> tuple[Any, ...]:
        """A page that was loaded anew while a job runs -> what was ordered with it."""
        job = self._jobs.latest()
        order = self._jobs.order(job.id) if job else None
        if order is None:
            return tuple(gr.update() for _ in range(len(INPUTS) + 1))
        ordered = order.plan
        added = [Further(replace(load(shot.source), alpha=shot.plan.alpha)) for shot in ordered.more]
        listed = plan_form.listed_text(ordered.more, added)
        drawn = plan_form.views_text(ordered.views, repeats=ordered.repeats)
        return drawn, plan_form.mask_text(ordered.mask), listed, added, _given(added)


def _looked(draft: Draft | None) -> Draft:
    if draft is None:
        raise PictureError("There is no picture yet.", "Choose one first; nothing was started.")
    return draft


def _given(added: Sequence[Further]) -> str:
    pictures = [
        {
            "id": further.id,
            "src": _jpeg(further.picture.image, html.THUMBNAIL_PX),
            "size": list(further.picture.image.size),
            "notes": list(further.picture.notes),
        }
        for further in added
    ]
    return html.data("plan", {"pictures": pictures})


def _jpeg(image: Image.Image, edge_px: int = plan_form.SHOWN_PX) -> str:
    small = image.convert("RGB")
    small.thumbnail((edge_px, edge_px))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
