"""Which captioner describes the picture: choosing one, fetching its model, naming an endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from distill.captions.backends import NAMES
from distill.captions.fetching.downloads import Progress
from distill.errors import DistillError
from distill.jobs import Jobs
from distill.jobs.captioners import SIDECAR, Choice
from distill.options import CaptionOptions
from distill.ui import html
from distill.ui.gradio_compat import LIVE, SLOW
from distill.ui.gradio_compat import html as text
from distill.ui.surroundings import Surroundings

OPTIONS = ("captioner", "endpoint", "endpoint_model")
"""The options that stand here and not in the accordion of the others."""

EVERY_S = 0.5
_META = {name: CaptionOptions.__dataclass_fields__[name].metadata for name in OPTIONS}


def draw(parts: dict[str, Any], options: dict[str, Any], surroundings: Surroundings) -> None:
    """The folded panel; its components go into `parts`, the options' widgets into `options`."""
    with gr.Accordion("Captioner", open=False, elem_id="distill_captioner_panel"):
        options["captioner"] = gr.Dropdown(
            list(NAMES),
            value=str(surroundings.default("captioner") or "auto"),
            allow_custom_value=True,
            label=_META["captioner"]["label"],
            info=_META["captioner"]["help"],
            elem_id="distill_captioner",
        )
        parts["captioner_note"] = text("", elem_id="distill_captioner_note")
        with gr.Row(elem_classes=["distill-line"]):
            for name, label in BUTTONS.items():
                parts[name] = gr.Button(label, size="sm", elem_id=f"distill_{name}")
        parts["fetching"] = text("", elem_id="distill_fetching")
        with gr.Row():
            options["endpoint"] = gr.Textbox(
                str(surroundings.default("endpoint") or ""),
                label=_META["endpoint"]["label"],
                info=_META["endpoint"]["help"],
                max_lines=1,
                elem_id="distill_endpoint",
            )
            options["endpoint_model"] = gr.Dropdown(
                [],
                value=str(surroundings.default("endpoint_model") or ""),
                allow_custom_value=True,
                label=_META["endpoint_model"]["label"],
                info=_META["endpoint_model"]["help"],
                elem_id="distill_endpoint_model",
            )
        with gr.Row(elem_classes=["distill-line"]):
            parts["endpoint_key"] = gr.Textbox(
                label="Key of the endpoint",
                placeholder="only where it asks for one; it is not saved",
                type="password",
                max_lines=1,
                scale=4,
                elem_id="distill_endpoint_key",
            )
            parts["list_models"] = gr.Button("List its models", scale=1, size="sm", elem_id="distill_list_models")
    for component in (options["endpoint_model"], parts["endpoint_key"]):
        component.do_not_save_to_config = True  # ui-config.json: choices that change, and a secret


BUTTONS = {
    "fetch": "Fetch it",
    "fetch_packages": "Fetch the sidecar's packages",
    "fetch_cancel": "Cancel",
    "fetch_remove": "Remove it",
}


def connect(parts: dict[str, Any], options: dict[str, Any], jobs: Jobs) -> None:
    """Wire the panel's events."""
    does = CaptionerHandlers(jobs)
    asked = [options["captioner"], options["endpoint"]]
    noted: dict[str, Any] = {"fn": does.note, "inputs": asked, "outputs": [parts["captioner_note"]], **LIVE}
    options["captioner"].change(**noted)
    options["endpoint"].change(**noted)
    fetching = [parts["fetching"]]
    parts["fetch"].click(does.fetch, asked, fetching, **SLOW).then(**noted)
    parts["fetch_packages"].click(does.fetch_packages, None, fetching, **SLOW).then(**noted)
    parts["fetch_cancel"].click(does.cancel, asked, None, **LIVE)
    parts["fetch_remove"].click(does.remove, asked, fetching, **LIVE).then(**noted)
    models = [options["endpoint"], parts["endpoint_key"]]
    parts["list_models"].click(does.list_models, models, [options["endpoint_model"], parts["fetching"]], **SLOW)


class CaptionerHandlers:
    """What the panel's buttons do."""

    def __init__(self, jobs: Jobs) -> None:
        self._there = jobs.captioners

    def note(self, captioner: str, endpoint: str) -> str:
        """What the choice is, and what it lacks -> HTML."""
        chosen = self._chosen(captioner, endpoint)
        if not chosen:
            return html.notes(["A folder with a model, or a name that is not known."])
        sentences = [f"{choice.label}. {choice.note}".strip() for choice in chosen]
        for choice in chosen:
            if choice.can_fetch:
                offer = self._there.offer(choice.name)
                commit = f", commit {offer.revision[:8]}" if offer.revision else ""
                sentences.append(
                    f"{offer.repository}{commit}: {offer.size_mib} MiB into {offer.folder} "
                    f"({offer.free_mib} MiB are free), licence {offer.licence}. {offer.problem}".strip()
                )
        return html.notes(sentences)

    def fetch(self, captioner: str, endpoint: str) -> Iterator[str]:
        """Fetch what the choice lacks, showing how far it is -> HTML, again and again."""
        wanted = [choice.name for choice in self._chosen(captioner, endpoint) if choice.can_fetch]
        if not wanted:
            yield html.problem("There is nothing to fetch.", "Choose a captioner whose note says that it is not there.")
        for name in wanted:
            yield from self._follow(name)

    def fetch_packages(self) -> Iterator[str]:
        """Fetch the sidecar's packages -> HTML, again and again."""
        yield from self._follow(SIDECAR)

    def cancel(self, captioner: str, endpoint: str) -> None:
        """End what is being fetched; `fetch` tells it."""
        for name in self._there.names():
            self._there.cancel(name)

    def remove(self, captioner: str, endpoint: str) -> str:
        """Delete what was fetched of the choice -> HTML."""
        names = [choice.name for choice in self._chosen(captioner, endpoint) if choice.name in self._there.names()]
        try:
            for name in names:
                self._there.remove(name)
        except DistillError as error:
            return html.problem(error.message, error.hint)
        return html.notes([f"Removed: {', '.join(names)}."]) if names else ""

    def list_models(self, endpoint: str, key: str) -> tuple[Any, str]:
        """Ask the server -> the models that it lists, or what went wrong."""
        from distill.captions.endpoint.captioner import models

        try:
            names = models(endpoint, key)
        except DistillError as error:
            return gr.update(), html.problem(error.message, error.hint)
        if not names:
            return gr.update(), html.notes(["The server lists no models; write the name yourself."])
        return gr.update(choices=names), html.notes([f"{len(names)} models; choose one that sees pictures."])

    def _follow(self, name: str) -> Iterator[str]:
        try:
            problem = self._there.offer(name).problem
            if problem:
                yield html.problem(problem)
                return
            progress: Progress | None = self._there.fetch(name)
            while progress is not None and progress.state == "running":
                yield html.cost(progress.text)
                time.sleep(EVERY_S)
                progress = self._there.progress(name)
        except DistillError as error:
            yield html.problem(error.message, error.hint)
            return
        if progress is not None:
            yield html.problem(progress.error, progress.hint) if progress.error else html.cost(progress.text)

    def _chosen(self, captioner: str, endpoint: str) -> list[Choice]:
        options = CaptionOptions(endpoint=str(endpoint or "").strip())
        names = [part.strip() for part in str(captioner or "").split("+")]
        return [choice for choice in self._there.choices(options) if choice.name in names]
