"""What happens on the way from a picture to a LoRA, as small frozen events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.training.loop import Step
from distill.training.meters import Reading

if TYPE_CHECKING:
    from PIL import Image

    from distill.image.cuts import Cut
    from distill.image.loading import Picture


@dataclass(frozen=True)
class Prepared:
    """The picture as it will be trained, and what is worth saying about it."""

    picture: Picture
    image: Image.Image  # cropped and scaled to the training size
    notes: tuple[str, ...]
    cuts: tuple[Cut, ...] = ()  # all training pictures, `image` as the first of them


@dataclass(frozen=True)
class Captioned:
    """The tags that the training captions are made of; the first is the trigger with its class."""

    tags: tuple[str, ...]
    trigger: str
    notes: tuple[str, ...] = ()
    of_cuts: tuple[tuple[str, ...], ...] = ()  # the same for each of the training pictures
    class_word: str = ""  # of the subject: "woman"


@dataclass(frozen=True)
class Prepares:
    """Class pictures are made or described: `done` of `total`."""

    done: int
    total: int
    text: str  # what goes on, one sentence


@dataclass(frozen=True)
class Resumed:
    """A training goes on after `step`, with the losses of all steps by then."""

    step: int
    total: int
    losses: tuple[float, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Noted:
    """Something that the person should know and that ends nothing."""

    note: str


@dataclass(frozen=True)
class Measured:
    """What the LoRA had learned after `step`, by the checkpoint itself."""

    step: int
    epoch: int
    reading: Reading
    verdict: str  # training.picker.LEARNING, GOOD or OVERFITTING

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"step": self.step, "epoch": self.epoch, "verdict": self.verdict, **asdict(self.reading)}


def measured(values: Mapping[str, Any]) -> Measured:
    """From plain values. Raises KeyError, TypeError or ValueError for others."""
    reading = Reading(**{f.name: float(values[f.name]) for f in fields(Reading)})
    return Measured(int(values["step"]), int(values["epoch"]), reading, str(values["verdict"]))


@dataclass(frozen=True)
class Saved:
    """A LoRA file, whole and read back."""

    path: Path
    step: int
    epoch: int


@dataclass(frozen=True)
class Sampled:
    """A picture made with the LoRA as it was after `step`; `path` is the file it stands beside."""

    image: Image.Image
    prompt: str
    step: int
    path: Path | None = None


@dataclass(frozen=True)
class Done:
    """The end: `path` is the LoRA, `prompt` calls it. `stopped` says why it came early, or is empty."""

    path: Path
    prompt: str
    step: int
    stopped: str = ""


Event = Prepared | Captioned | Prepares | Resumed | Step | Noted | Measured | Saved | Sampled | Done
