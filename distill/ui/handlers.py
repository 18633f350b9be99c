"""What the tab's buttons do: each asks the jobs or the pipeline, and says it in HTML."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from distill.captions import tags as tag_text
from distill.captions.captioner import CaptioningStopped
from distill.captions.difference import difference
from distill.captions.tokens import READ_TOKENS
from distill.errors import DistillError, PictureError
from distill.image.addresses import fetch
from distill.image.loading import load
from distill.jobs import Jobs, Order
from distill.ui import chips, html, live, options_form, views_panel
from distill.ui import draft as drafts
from distill.ui.prompt import block

Given = Image.Image | PictureError | None
"""What the picture component gives: an image, why it is none, or nothing."""

SAME = gr.update
"""Called for a part that stays as it is."""


class Handlers:
    """Bound to the process's jobs; the state of a page is in its gr.State values."""

    def __init__(self, jobs: Jobs, *, may_train: bool = True) -> None:
        self.jobs, self._may_train = jobs, may_train

    def look(self, picture: Given, *values: Any) -> tuple[Any, str]:
        """A picture came or went -> draft, its notes."""
        if picture is None:
            return None, ""
        try:
            options = options_form.read(values)
            draft = drafts.look(_image(picture), options.picture, self.jobs.host.loaded().native_px)
            if self._may_train:
                self.jobs.ahead.start(_image(picture), options)
            return draft, html.notes(draft.prepared.notes)
        except DistillError as error:
            return None, html.problem(error.message, error.hint)

    def load(self, url: str) -> tuple[Any, str]:
        """A picture's address -> the picture, what went wrong."""
        try:
            return load(fetch((url or "").strip())).image, ""
        except DistillError as error:
            return SAME(), html.problem(error.message, error.hint)

    def recount(self, captions: str, proposal: str, draft: drafts.Draft | None, *values: Any) -> tuple[Any, ...]:
        """Something was typed or set -> notes, counter, remarks on the captions, cost, name's placeholder."""
        try:
            options = options_form.read(values)
            fresh = draft and drafts.looked_again(draft, options.picture, self.jobs.host.loaded().native_px)
            count = drafts.count(captions or "", fresh, options)
        except DistillError as error:
            return SAME(), SAME(), SAME(), html.problem(error.message, error.hint), SAME()
        noted = SAME() if fresh is draft or not fresh else html.notes(fresh.prepared.notes)
        told = chips.told(captions or "", proposal or "", fresh, count, options)
        counter = html.counter(count.used, READ_TOKENS, told)
        named = gr.update(placeholder=count.name or "empty: made from the trigger")
        cost = self.jobs.cost(options, views_panel.counted(values[len(options_form.NAMES) :]))
        return noted, counter, html.notes(count.notes), html.cost(cost), named

    def describe(self, picture: Given, key: str, *values: Any) -> tuple[str, str]:
        """Ask the captioner -> its proposal, who said it or what went wrong."""
        try:
            found = self.jobs.caption(_image(picture), options_form.read(values).caption, key or "")
        except CaptioningStopped as stopped:
            return "", html.described(html.notes([f"{stopped.message} {stopped.hint}"]))
        except DistillError as error:
            return "", html.described(html.problem(error.message, error.hint))
        if not found.tags:
            problem = html.problem("No captioner is set, or it saw nothing.", "Write the captions yourself.")
            return "", html.described(problem)
        return tag_text.join(found.tags), html.described(html.notes(found.notes), found.by)

    def stop_describing(self) -> None:
        """The answer of `describe` tells the rest."""
        self.jobs.stop_captioning()

    def settle(self, captions: str, proposal: str, proposed: str) -> tuple[Any, Any, str]:
        """Into the box when the person has not written there, else beside it -> captions, proposal, proposed."""
        written = (captions or "").strip()
        if proposal and written in ("", proposed):
            return proposal, "", proposal
        compared = difference(tag_text.parse(written), tag_text.parse(proposal or ""))
        return SAME(), "" if compared.is_empty else SAME(), proposed

    def use_proposal(self, proposal: str) -> tuple[str, str, str]:
        """In place of what is written -> captions, proposal, proposed."""
        return proposal, "", proposal

    def check_words(self, picture: Given, captions: str, proposal: str, proposed: str, *values: Any) -> str:
        """Ask what the checkpoint knows of the tags -> what went wrong; ticks bring the answer."""
        tags, seen = (tag_text.parse(text or "") for text in (captions, proposal or proposed))
        try:
            self.jobs.words.start(_image(picture), tags, options_form.read(values), seen)
        except DistillError as error:
            return html.problem(error.message, error.hint)
        return ""

    def stop_checking(self) -> None:
        """What was checked by now stays."""
        self.jobs.words.cancel()

    def distill(self, picture: Given, captions: str, *values: Any) -> str:
        """Order a LoRA -> what went wrong; behind the options' values come those of the views panel."""
        tags = tuple(tag_text.parse(captions or ""))
        try:
            plan = views_panel.plan(_image(picture), values[len(options_form.NAMES) :])
            options = options_form.read(values)
            self.jobs.submit(Order(picture=_image(picture), tags=tags or None, options=options, plan=plan))
        except DistillError as error:
            return html.problem(error.message, error.hint)
        return ""

    def stop(self) -> str:
        """Keep what is trained -> what went wrong."""
        return self._end(self.jobs.stop)

    def discard(self) -> str:
        """Delete the job's files -> what went wrong."""
        return self._end(self.jobs.discard)

    def _end(self, how: Any) -> str:
        job = self.jobs.latest()
        try:
            if job and job.active:
                how(job.id)
        except DistillError as error:
            return html.problem(error.message, error.hint)
        return ""

    def go_on(self) -> str:
        """The newest job that was cut off with a state goes on -> what went wrong."""
        kept = [job for job in self.jobs.cut_off() if self.jobs.can_resume(job)]
        try:
            for job in kept[:1]:
                self.jobs.resume(job.id)
        except DistillError as error:
            return html.problem(error.message, error.hint)
        return ""

    def dismiss(self) -> None:
        """Cut-off jobs were read."""
        for job in self.jobs.cut_off():
            self.jobs.dismiss(job.id)

    def tick(self, shown: dict[str, str]) -> list[Any]:
        """-> shown, state, then the parts in the order of `TICK_PARTS`; only what changed is sent."""
        now = live.parts(self.jobs)
        marks = live.marks(now)

        def fresh(name: str) -> bool:
            return shown.get(name) != marks[name]

        names = ("status", "loss", "strip", "meters", "checkpoint", "cut_off")
        sent = [now[name] if fresh(name) else SAME() for name in names]
        go = gr.update(interactive=now["ready"] and self._may_train) if fresh("ready") else SAME()
        state = html.state({**now["state"], "tick": time.time()})
        return [marks, state, *sent, go, *self._ending(now["ended"] and fresh("ended"))]

    def _ending(self, is_new: bool) -> Sequence[Any]:
        """chosen, weight, prompt of a job that has just ended."""
        job = self.jobs.latest()
        if not is_new or not job:
            return SAME(), SAME(), SAME()
        weight = job.options.output.preferred_weight
        return live.chosen(job), weight, block(job, live.chosen(job), weight)

    def restore(self) -> tuple[Any, Any]:
        """A page that was loaded anew while a job runs -> its picture and captions."""
        job = self.jobs.latest()
        path = self.jobs.picture(job.id) if job else None
        try:
            return (load(path).image, tag_text.join(job.given)) if job and path else (SAME(), SAME())
        except DistillError:
            return SAME(), SAME()  # the picture is gone from the disk, and the person has the page that they asked for

    def call(self, chosen: str, weight: float) -> Any:
        """Another epoch or weight -> the prompt."""
        job = self.jobs.latest()
        words = block(job, chosen or live.chosen(job), weight) if job else ""
        return words or SAME()


def _image(picture: Given) -> Image.Image:
    if picture is None:
        raise PictureError("There is no picture yet.", "Choose one first; nothing was started.")
    if isinstance(picture, PictureError):
        raise picture
    return picture
