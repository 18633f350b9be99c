"""What the tab shows of the jobs at this moment, as plain values: each part by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill.jobs import Job, Jobs
from distill.jobs.job import SavedLora
from distill.ui import html, loss_line, meters_view

ENDINGS = {
    "done": "Done",
    "stopped": "Stopped, and what was trained is kept",
    "discarded": "Discarded, its files are deleted",
    "failed": "It did not work",
    "cut_off": "Cut off",
}


def parts(jobs: Jobs) -> dict[str, Any]:
    """The parts by name, most of them HTML; `ready` says whether Distill may be pressed."""
    job, loaded, cut = jobs.latest(), jobs.host.loaded(), jobs.cut_off()
    active = bool(job and job.active)
    going = [c for c in cut if jobs.can_resume(c)]
    return {
        "state": _state(job) | {"cutOff": bool(cut), "goOn": bool(going)} | _words(jobs),
        "status": _status(job) if job else "",
        "loss": loss_line.svg(job.losses, job.total, [s.step for s in job.saved]) if job else "",
        "strip": html.strip(_tiles(job), chosen(job), "..." if active else "no picture") if job else "",
        "meters": meters_view.view(job.measured) if job else "",
        "checkpoint": html.checkpoint(loaded.name, loaded.problem),
        "cut_off": html.cut_off([_cut_off_sentence(c, c in going) for c in cut]),
        "ready": not (active or loaded.problem),
        "ended": (job.id, len(job.saved)) if job and job.saved and not active else None,
    }


def marks(now: Mapping[str, Any]) -> dict[str, str]:
    """A short mark of each part's content: the page shows a part anew when its mark is another."""
    return {name: hashlib.sha256(repr(value).encode()).hexdigest()[:16] for name, value in now.items()}


def chosen(job: Job) -> str:
    """The LoRA that is used unless the person chooses another: the last one."""
    return job.saved[-1].path.stem if job.saved else ""


def _state(job: Job | None) -> dict[str, Any]:
    values: dict[str, Any] = {"state": "idle", "active": False}
    if job:
        values |= {
            "job": job.id,
            "task": f"task({job.id})",
            "state": job.state,
            "active": job.active,
            "step": job.step,
            "total": job.total,
            "text": job.text or ENDINGS.get(job.state, ""),
            "size": list(job.size_px),
            "saved": len(job.saved),
        }
    return values


def _words(jobs: Jobs) -> dict[str, Any]:
    """How the check of the words goes on, once one was asked for."""
    now = jobs.words.snapshot()
    return {"words": asdict(now)} if now.state != "idle" else {}


def _status(job: Job) -> str:
    if job.state == "failed":
        return html.problem(job.error, job.hint)
    if not job.active:
        return html.status(job.text or ENDINGS[job.state], (duration(job.seconds) if job.state == "done" else "",))
    left = f"about {duration(job.eta_s)} left" if job.eta_s is not None else ""
    return html.status(job.text or "Starts.", (left,))


def _tiles(job: Job) -> list[tuple[str, Sequence[str], Any]]:
    tastes = meters_view.tastes(job.measured) if len(job.measured) > 1 else {}
    return [(saved.path.stem, (_epoch(job, saved), *tastes.get(saved.epoch, ())), saved.preview) for saved in job.saved]


def _epoch(job: Job, saved: SavedLora) -> str:
    is_the_lora = saved is job.saved[-1] and not job.active
    chosen_how = "the last" if job.options.output.pick == "last" else "the LoRA"
    return f"Epoch {saved.epoch}" + (f", {chosen_how}" if is_the_lora else "")


def _cut_off_sentence(job: Job, can_go_on: bool) -> str:
    kept = [str(saved.epoch) for saved in job.saved]
    epochs = f"epoch{'s' if len(kept) > 1 else ''} {', '.join(kept)}"
    rest = f"{epochs} {'are' if len(kept) > 1 else 'is'} kept" if kept else "nothing was saved yet"
    started = job.created_at.replace("T", " ")[:16]
    which = f"The job of {started} ({job.name or 'without a name'})"
    ended = "failed" if job.state == "failed" else "was cut off"
    then = " It can go on after the last whole epoch." if can_go_on else ""
    return f"{which} {ended} at step {job.step} of {job.total}; {rest}.{then}"


def duration(seconds: float) -> str:
    """In words that one can take in at a glance: "1 min 40 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
