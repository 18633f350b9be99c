"""What is in a LoRA without captions: a button under the finished job, what was drawn, and captions to add."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from distill.errors import DistillError, JobError
from distill.jobs import Jobs
from distill.jobs.residue import Search, asked_of
from distill.residue import BY_CHECKPOINT, FOUND, NOTHING, Residue
from distill.ui import html, options_form
from distill.ui.gradio_compat import LIVE, SLOW
from distill.ui.gradio_compat import html as text

EVERY_S = 0.5
DRAWN = "Drawn without any captions, then by all of them"
LOOKED = "Seen by"
CHECKPOINT_SAW = "the checkpoint itself; with a captioner set, more is found"


def draw(parts: dict[str, Any]) -> None:
    """The buttons, and where the answer stands."""
    with gr.Row(elem_id="distill_residue_row", elem_classes=["distill-line"]):
        parts["residue"] = gr.Button("What is in it without captions?", size="sm", elem_id="distill_residue")
        parts["residue_stop"] = gr.Button("Stop looking", size="sm", elem_id="distill_residue_stop")
    parts["residue_found"] = text("", elem_id="distill_residue_found")


def connect(parts: dict[str, Any], widgets: Sequence[Any], jobs: Jobs) -> None:
    """Bring it to life; `widgets` are those of the options."""
    does = _Does(jobs)
    inputs = [parts["chosen"], parts["endpoint_key"], *widgets]
    parts["residue"].click(does.look, inputs, [parts["residue_found"]], **SLOW)
    parts["residue_stop"].click(does.stop, None, None, **LIVE)


class _Does:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def look(self, chosen: str, key: str, *values: Any) -> Iterator[str]:
        """Look into the LoRA that is chosen -> HTML, again and again."""
        job = self._jobs.latest()
        try:
            options = options_form.read(values)
            if job is None:
                raise JobError("There is no LoRA yet.", "Distill one first.")
            picture, native_px = self._jobs.picture(job.id), self._jobs.host.loaded().native_px
            asked, asks = asked_of(job, picture, chosen or "", native_px, options.caption)
            now = self._jobs.residue.start(asked, asks, key or "")
        except DistillError as error:
            yield answer(html.problem(error.message, error.hint))
            return
        while now.active:
            yield html.cost(_progress(now))
            time.sleep(EVERY_S)
            now = self._jobs.residue.snapshot()
        yield answer(_ended(now), job.id)

    def stop(self) -> None:
        """`look` tells the rest."""
        self._jobs.residue.cancel()


def _progress(now: Search) -> str:
    return f"{now.text} {now.done} / {now.total}" if now.total > 1 else now.text


def _ended(now: Search) -> str:
    if now.error:
        return html.problem(now.error, now.hint)
    return found(now.found) if now.found else html.notes([now.text])


def answer(body: str, job: str = "") -> str:
    """Each one another, so that the script sees it; `job` is the one that it is of."""
    return f'<div data-residue="{time.time_ns()}" data-job="{escape(job)}">{body}</div>'


def found(residue: Residue) -> str:
    """The pictures, and the captions that are missing, to be added by a click."""
    pictures = "".join(f'<img src="{html.data_uri(picture)}" alt="">' for picture in residue.pictures)
    tags = "".join(map(_button, residue.missing))
    chips = f'<div class="distill-marks" role="group">{tags}</div>' if tags else ""
    by = CHECKPOINT_SAW if residue.by == (BY_CHECKPOINT,) else ", ".join(residue.by)
    return (
        f"<p>{escape(FOUND if tags else NOTHING)}</p>{chips}"
        f'<div class="distill-residue-pictures">{pictures}</div>'
        f'<p><span class="distill-quiet">{DRAWN}.</span> '
        f'<span class="distill-quiet">{LOOKED}</span> <b>{escape(by)}</b></p>'
    )


def _button(tag: str) -> str:
    return f'<button type="button" data-residue-add="{escape(tag)}">{escape(tag)}</button>'
