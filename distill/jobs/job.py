"""What a job is: an immutable snapshot, made anew at each thing that happens."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.events import Captioned, Done, Event, Measured, Noted, Prepared, Prepares, Resumed, Sampled, Saved
from distill.options import Options
from distill.output.sidecars import preview_of
from distill.plan import Plan
from distill.training.loop import Step

if TYPE_CHECKING:
    from PIL import Image

ACTIVE = ("queued", "waiting", "running")
COARSEST_CLOCK_NS = 2 * 10**9  # FAT's
STATES = (*ACTIVE, "done", "stopped", "discarded", "failed", "cut_off")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a person asked for."""

    picture: Image.Image
    tags: tuple[str, ...] | None  # None: the captioner is asked
    options: Options
    notes: tuple[str, ...] = ()  # what was said already when the picture was opened
    plan: Plan = field(default_factory=Plan)
    resume: bool = False  # from the state that is kept under the job's id


@dataclass(frozen=True, kw_only=True)
class SavedLora:
    """A LoRA file of a job: an epoch, or the end."""

    path: Path
    step: int
    epoch: int
    preview: Path | None = None
    written_ns: int = 0  # when, as the file system has it

    @property
    def is_there(self) -> bool:
        """Whether the file is still that of the job: a name that became free is given again."""
        return abs(_written_ns(self.path) - self.written_ns) <= COARSEST_CLOCK_NS

    def as_json(self) -> dict[str, Any]:
        """Plain values, without folders."""
        preview = self.preview.name if self.preview else None
        return {
            "name": self.path.stem,
            "file": self.path.name,
            "step": self.step,
            "epoch": self.epoch,
            "preview": preview,
            "written_ns": self.written_ns,
        }


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training as it is now."""

    id: str  # letters, digits and "-"
    state: str = "queued"  # one of STATES
    name: str = ""  # of the LoRA, "" until known
    checkpoint: str = ""
    text: str = ""  # what goes on now, one sentence
    step: int = 0
    total: int = 0
    losses: tuple[float, ...] = ()
    eta_s: float | None = None
    seconds: float = 0.0  # since it was started
    tags: tuple[str, ...] = ()
    given: tuple[str, ...] = field(default=(), compare=False)  # the captions as ordered; of this process only
    notes: tuple[str, ...] = ()
    size_px: tuple[int, int] = (0, 0)  # (width, height) of the training picture
    measured: tuple[Measured, ...] = ()  # what the meters said, in order
    saved: tuple[SavedLora, ...] = ()  # epochs in order, the final one last
    prompt: str = ""  # "tags, <lora:name:0.6>", "" until done
    error: str = ""
    hint: str = ""
    created_at: str = ""  # ISO 8601, UTC
    options: Options = field(default_factory=Options)

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE

    def as_json(self) -> dict[str, Any]:
        """Plain values; files by their names, without folders."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "given"}
        values |= {name: list(values[name]) for name in ("losses", "tags", "notes", "size_px")}
        return values | {
            "measured": [measured.as_json() for measured in self.measured],
            "saved": [saved.as_json() for saved in self.saved],
            "options": self.options.public(),
            "active": self.active,
        }


def steps_of(prepared: Prepared, options: Options) -> int:
    """Steps in all, now that the pictures and their views are known."""
    return options.steps_of(sum(cut.repeats for cut in prepared.cuts) or 1)


def after(job: Job, event: Event) -> Job:
    """The job once `event` has happened."""
    if isinstance(event, Step):
        text = f"Step {event.index} of {event.total}."
        return replace(job, step=event.index, total=event.total, losses=(*job.losses, event.loss), text=text)
    if isinstance(event, Prepared):
        notes = (*job.notes, *(note for note in event.notes if note not in job.notes))
        total = steps_of(event, job.options)
        return replace(job, notes=notes, size_px=event.image.size, total=total, text="Asks for the captions.")
    if isinstance(event, Captioned):
        notes = tuple(dict.fromkeys((*job.notes, *event.notes)))
        return replace(job, tags=event.tags, notes=notes, text="Encodes the picture and the captions.")
    if isinstance(event, Prepares):
        return replace(job, text=event.text)
    if isinstance(event, Resumed):
        return _after_resumed(job, event)
    if isinstance(event, Noted):
        return replace(job, notes=tuple(dict.fromkeys((*job.notes, event.note))))
    if isinstance(event, Measured):
        return replace(job, measured=(*job.measured, event), text=f"Epoch {event.epoch} is measured.")
    if isinstance(event, Saved):
        return _after_saved(job, event)
    if isinstance(event, Sampled):
        previewed = (replace(s, preview=event.path) if preview_of(s.path) == event.path else s for s in job.saved)
        return replace(job, saved=tuple(previewed))
    return _after_done(job, event)


def _after_resumed(job: Job, event: Resumed) -> Job:
    """What was saved later than the state is made again."""
    return replace(
        job,
        step=event.step,
        total=event.total,
        losses=event.losses,
        measured=tuple(measured for measured in job.measured if measured.step <= event.step),
        saved=tuple(saved for saved in job.saved if saved.step <= event.step),
        notes=tuple(dict.fromkeys((*job.notes, *event.notes))),
        text=f"Goes on after step {event.step} of {event.total}.",
    )


def _after_saved(job: Job, event: Saved) -> Job:
    epoch, stem = event.epoch, event.path.stem
    suffix = f"-{epoch:06d}"
    # The last epoch has a file beside the LoRA where an earlier one became the LoRA.
    is_last_epoch = bool(job.name) and stem == f"{job.name}{suffix}"
    is_epoch = stem.endswith(suffix) and stem != job.name and (event.step < job.total or is_last_epoch)
    name = stem.removesuffix(suffix) if is_epoch else stem
    text = f"Epoch {epoch} is saved; makes its picture." if is_epoch else "Saved; makes the picture for its card."
    saved = SavedLora(path=event.path, step=event.step, epoch=epoch, written_ns=_written_ns(event.path))
    return replace(
        job, name=name, text=text, saved=(*(other for other in job.saved if other.path != event.path), saved)
    )


def _written_ns(path: Path) -> int:
    """When the file was written; far from any time where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -(10**18)


def _after_done(job: Job, event: Done) -> Job:
    """`stopped` also tells why training broke off with an epoch saved."""
    return replace(
        job,
        state="stopped" if event.stopped else "done",
        name=event.path.stem,
        step=event.step,
        prompt=event.prompt,
        text=event.stopped or f"Done: {event.path.stem} is in the LoRA folder.",
        eta_s=None,
    )
