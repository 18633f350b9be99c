"""How things are told to a program: plain values, errors with a status, and no folders of the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distill.errors import CheckpointError, DistillError, JobError, OutputError, TrainingError
from distill.host import Host
from distill.jobs import Job
from distill.jobs.going_on import can_go_on
from distill.options import each_option
from distill.output.library import MadeLora
from distill.plan_values import MAX_SHOTS, MAX_VIEWS

_STATUS: dict[type[DistillError], int] = {
    JobError: 404,
    CheckpointError: 503,
    TrainingError: 503,
    OutputError: 503,
}
UNUSABLE = 422  # what was sent can be read, but not used
_PATH = re.compile(r"""(?<![\w:/\\.])(?:[A-Za-z]:[\\/]|\\\\|/)(?:[^\\/\s"'<>|:]+[\\/])+""")
_KINDS = {int: "integer", float: "number", bool: "boolean", str: "string"}


class Refusal(Exception):
    """A request that is refused before anything is done."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


def status_of(error: DistillError) -> int:
    """The HTTP status that goes with an error."""
    return _STATUS.get(type(error), UNUSABLE)


def error_json(message: str, hint: str, host: Host) -> dict[str, Any]:
    """An error as all routes answer it."""
    return {"error": {"message": without_folders(message, host), "hint": without_folders(hint, host)}}


def job_json(job: Job, host: Host, *, losses: bool = True) -> dict[str, Any]:
    """A job; its sentences without folders."""
    values = job.as_json()
    values |= {name: without_folders(values[name], host) for name in ("text", "error", "hint")}
    values["notes"] = [without_folders(note, host) for note in job.notes]
    values["can_resume"] = can_go_on(host.work_dir, job)
    if not losses:
        del values["losses"]
    return values


def progress_json(job: Job | None) -> dict[str, Any] | None:
    """The few values that somebody who asks each second wants."""
    if job is None or not job.active:
        return None
    names = ("id", "state", "text", "step", "total", "eta_s", "seconds")
    return {name: getattr(job, name) for name in names} | {"loss": job.losses[-1] if job.losses else None}


def lora_json(made: MadeLora) -> dict[str, Any]:
    """A LoRA of the library."""
    return {
        "name": made.name,
        "tags": list(made.tags),
        "preferred_weight": made.preferred_weight,
        "prompt": made.prompt,
        "made_at": made.made_at,
        "size_bytes": made.size_bytes,
        "epochs": list(made.epochs),
        "preview": made.preview is not None,
    }


def schema() -> list[dict[str, Any]]:
    """Every option, in the order the tab shows them."""
    return [
        {
            "name": f.name,
            "group": group.__name__.removesuffix("Options").lower(),
            "type": _KINDS[kind],
            "default": f.default,
            **{key: f.metadata[key] for key in ("label", "help", "ge", "le")},
            "choices": list(f.metadata["choices"] or ()) or None,
        }
        for group, f, kind in each_option()
    ]


_REPEATS = "How often it comes in an epoch beside the others, 0 to 1000"
_VIEW = {
    "name": "Text, for example face",
    "box": "[left, upper, right, lower] as shares of the upright picture, 0 to 1",
    "words": 'What its captions say of the cut, after those of the picture: "close-up"; a text or a list',
    "captions": "Its own in place of the picture's and words; a text or a list",
    "repeats": _REPEATS,
}
TRAIN: dict[str, Any] = {
    "picture": 'base64, "data:image/...;base64,..." or https://...',
    "captions": '"a, b" or ["a", "b"]; left out: the captioner describes the picture',
    "preset": "the name of a recipe, as GET /distill/v1/presets lists them",
    "options": "{name: value}, as listed under options; over the preset's",
    "views": {"list_of": _VIEW, "most": MAX_VIEWS, "left_out": "the option views proposes them; []: none"},
    "mask": "A picture of any size over the whole upright picture, white where the subject is",
    "repeats": f"{_REPEATS}; 0: as often as all of its views together",
    "pictures": {
        "list_of": {name: f"as {name} of the first" for name in ("picture", "captions", "views", "mask", "repeats")},
        "most": MAX_SHOTS,
    },
}
"""What POST /train takes."""


def without_folders(text: str, host: Host) -> str:
    """`text` with files by their names only."""
    for folder in sorted(_known_folders(host), key=len, reverse=True):
        text = re.sub(re.escape(folder) + r"[\\/]", "", text).replace(folder, Path(folder).name)
    return _PATH.sub("", text)


def _known_folders(host: Host) -> Iterable[str]:
    # Known ones by their whole name, as they may have spaces in them.
    folders = (host.lora_dir, host.work_dir, Path.home(), Path.cwd())
    every = {str(way) for folder in folders for way in (folder, folder.absolute(), folder.parent.absolute())}
    return (folder for folder in every if len(Path(folder).parts) > 1)
