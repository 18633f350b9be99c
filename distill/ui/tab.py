"""The Distill tab: drawn by panels.py, brought to life by handlers.py, connected here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from distill.jobs import Jobs
from distill.ui import captioner_panel, panels, presets_panel, resets, residue_panel, views_panel
from distill.ui.gradio_compat import LATEST, LIVE, SLOW
from distill.ui.handlers import Handlers
from distill.ui.panels import Page
from distill.ui.surroundings import Surroundings


def build(jobs: Jobs, surroundings: Surroundings) -> gr.Blocks:
    """The tab, for a WebUI to embed or a page of our own; javascript/ and style.css belong to it."""
    tab: gr.Blocks
    with gr.Blocks(analytics_enabled=False) as tab:
        page = panels.draw(surroundings)
        does = Handlers(jobs, may_train=not surroundings.banner)
        _connect_draft(page, does, surroundings.default)
        _connect_job(page, does)
        captioner_panel.connect(page.parts, page.options, jobs)
        views_panel.connect(page.parts, page.widgets, jobs)
        residue_panel.connect(page.parts, page.widgets, jobs)
        surroundings.bind_picture(page.picture, page.last)
        for name in surroundings.tabs:
            if name != "txt2img":
                surroundings.send_picture(page.parts[f"use_{name}"], name, page.picture)
    return tab


def _connect_draft(page: Page, does: Handlers, default: Callable[[str], Any]) -> None:
    looked = {"fn": does.look, "inputs": [page.picture, *page.widgets], "outputs": [page.draft, page.notes]}
    counted: dict[str, Any] = {
        "fn": does.recount,
        "inputs": [page.captions, page.proposal, page.draft, *page.widgets, *views_panel.inputs(page.parts)],
        "outputs": [page.notes, page.counter, page.remarks, page.cost, page.options["name"]],
        **LIVE,
    }
    shown = views_panel.showing(page.parts, page.widgets)
    page.picture.change(**looked, **LIVE).then(**counted).then(**shown)
    recounted = page.recount.click(**counted, **LATEST)
    loading = {"fn": does.load, "inputs": [page.url], "outputs": [page.picture, page.notes]}
    page.load.click(**loading, **SLOW)
    page.url.submit(**loading, **SLOW)
    boxes = [page.captions, page.proposal, page.proposed]
    page.describe.click(
        does.describe, [page.picture, page.endpoint_key, *page.widgets], [page.proposal, page.said], **SLOW
    ).then(does.settle, boxes, boxes, **LIVE).then(**counted)
    page.describe_stop.click(does.stop_describing, None, None, **LIVE)
    page.use_proposal.click(does.use_proposal, [page.proposal], boxes, **LIVE).then(**counted)
    told = resets.connect(page.parts, page.widgets, default, counted)
    # After it, not beside it: gradio 6 takes a deferred click up again for all who listen, and two wake each other.
    recounted.then(**told)
    presets_panel.connect(page.parts, page.widgets, does.jobs, told, counted)


def _connect_job(page: Page, does: Handlers) -> None:
    parts = [page.state, page.status, page.loss, page.strip, page.meters, page.checkpoint, page.cut_off, page.go]
    ticked: dict[str, Any] = {
        "fn": does.tick,
        "inputs": [page.shown],
        "outputs": [page.shown, *parts, page.chosen, page.weight, page.prompt],
        **LIVE,
    }
    page.tick.click(**ticked)
    page.restore.click(does.restore, None, [page.picture, page.captions], **LIVE)
    checked = [page.picture, page.captions, page.proposal, page.proposed, *page.widgets]
    page.ground.click(does.check_words, checked, [page.said], **LIVE).then(**ticked)
    page.ground_stop.click(does.stop_checking, None, None, **LIVE).then(**ticked)
    ordered = [page.picture, page.captions, *page.widgets, *views_panel.inputs(page.parts)]
    page.go.click(does.distill, ordered, [page.message], **LIVE).then(**ticked)
    page.stop.click(does.stop, None, [page.message], **LIVE).then(**ticked)
    page.discard.click(does.discard, None, [page.message], **LIVE).then(**ticked)
    page.go_on.click(does.go_on, None, [page.message], **LIVE).then(**ticked)
    page.dismiss.click(does.dismiss, None, None, **LIVE).then(**ticked)
    called: dict[str, Any] = {"inputs": [page.chosen, page.weight], "outputs": [page.prompt], **LIVE}
    page.chosen.change(does.call, **called)
    page.weight.change(does.call, **called)
