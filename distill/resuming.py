"""A run's state at each epoch, and going on from it: only with the same picture, captions, recipe and checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import distill
from distill.errors import DistillError, TrainingError
from distill.events import Captioned, Prepared, Resumed
from distill.host import Models
from distill.options import (
    CaptionOptions,
    NetworkOptions,
    NoiseOptions,
    Options,
    PictureOptions,
    RegularizationOptions,
    TrainOptions,
    each_option,
)
from distill.output import states
from distill.output.beside import Beside
from distill.output.lora_file import unused_name
from distill.output.states import Kept
from distill.saving import is_of
from distill.training.prior import ClassPicture
from distill.training.state import Course, State
from distill.watching import Watch

DECISIVE = (PictureOptions, CaptionOptions, RegularizationOptions, TrainOptions, NetworkOptions, NoiseOptions)
ANY_WAY = {"trigger", "gradient_checkpointing", "cuda_graph", "encode_ahead"}
"""Of those: what is seen in the captions, and what changes memory and time only."""

PACKAGES = ("torch", "diffusers", "peft", "transformers")
_ANEW = "Give the same as then, or train anew without resuming."


@dataclass(frozen=True)
class Keeping:
    """Where a run keeps its state, and the one that it goes on from."""

    folder: Path | None = None
    enabled: bool = True
    kept: Kept | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # what is written with each state
    beside: Beside[list[str]] = field(default_factory=Beside)

    @property
    def began_at(self) -> datetime:
        """When the run began, or the one that it goes on with. Once it is told `about`."""
        return datetime.fromisoformat(self.facts["began_at"])

    @property
    def losses(self) -> list[float]:
        """Of the steps that were taken by then."""
        return list(self.kept.values["losses"]) if self.kept else []

    def about(self, began_at: datetime, **facts: Any) -> Keeping:
        """With what is to be written beside each state; `began_at` is that of a new run."""
        began = self.kept.values["began_at"] if self.kept else began_at.isoformat()
        return replace(self, facts={**self.facts, **facts, "began_at": began, "packages": _packages()})

    def restore(self, course: Course, watch: Watch, total: int) -> Resumed | None:
        """Let the course go on from what is kept, if anything is. Raises DistillError when it does not belong."""
        if self.kept is None:
            return None
        then, now = self.kept.values, self.facts
        differing = differences(then["fingerprint"], now["fingerprint"])
        if differing:
            raise TrainingError(f"What is kept of {then['name']} is another training: {'; '.join(differing)}.", _ANEW)
        tensors = self.kept.tensors()
        course.restore(State(then["step"], then["course"], tensors))
        watch.restore(then.get("watch", {}), tensors)
        states.claim(self.kept)
        return Resumed(then["step"], total, tuple(then["losses"]), _news(then["packages"], now["packages"]))

    def keep(self, course: Course, watch: Watch, losses: Sequence[float]) -> list[str]:
        """Write down where the course is, beside what comes next; `settle` must come before the next one.

        Says so where that can't be done, as `settle` does, and the training goes on either way.
        """
        if not self.enabled or self.folder is None:
            return []
        try:
            state, (seen, best) = course.state(), watch.state()
        except (DistillError, MemoryError) as error:
            return [_unkept(error)]
        values = {**self.facts, "step": state.step, "losses": list(losses), "course": state.values, "watch": seen}
        self.beside.begin(partial(_write, self.folder, values, {**state.tensors, **best}))
        return []

    def settle(self) -> list[str]:
        """Wait for what is being written."""
        return self.beside.end() or []

    def end(self) -> None:
        """Nothing is to go on from here."""
        self.settle()
        if self.folder is not None:
            states.remove(self.folder)


def _write(folder: Path, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> list[str]:
    try:
        states.write(folder, values, tensors)
        states.tidy(folder.parent.parent)
    except (DistillError, MemoryError) as error:
        return [_unkept(error)]
    return []


def _unkept(error: DistillError | MemoryError) -> str:
    what = error.message if isinstance(error, DistillError) else "Out of memory."
    return f"The training's state can't be kept, so it could not go on after a crash: {what}"


def keeping_of(work_dir: Path, key: str, options: Options, kept: Kept | None, tags: Sequence[Sequence[str]]) -> Keeping:
    """Where a run keeps its state: where it was, or in a folder that nobody else uses now."""
    folder = kept.folder if kept else states.folder_for(work_dir, key)
    return Keeping(folder, options.output.keep_state, kept, {"tags": [list(said) for said in tags]})


def kept_state(work_dir: Path, key: str, picture: Image.Image, options: Options) -> Kept:
    """The state named `key`, or without a key the one that comes closest. Raises TrainingError."""
    kept = states.read(work_dir / states.FOLDER / key) if key else _closest(work_dir, picture, options)
    if kept is None:
        raise TrainingError("There is no state of a training to go on from.", "Train anew without resuming.")
    if kept.in_use:
        raise TrainingError("This training goes on in another running program.", "Stop it there.")
    return kept


def said_then(asked: Sequence[Sequence[str] | None], kept: Kept | None) -> list[Sequence[str] | None]:
    """The captions as asked for; where the captioner was asked, what it said then."""
    then = kept.values["tags"] if kept else []
    known = [*then, *[None] * len(asked)]
    return [said if given is None else given for given, said in zip(asked, known)]


def name_then(kept: Kept, lora_dir: Path) -> str:
    """The LoRA's name, or another one where somebody else's LoRA got it meanwhile."""
    name = str(kept.values["name"])
    path = lora_dir / f"{name}.safetensors"
    ours = not path.exists() or is_of(path, datetime.fromisoformat(kept.values["began_at"]))
    return name if ours else unused_name(lora_dir, name)


def _news(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    changed = [f"{name} {then.get(name)} -> {version}" for name, version in now.items() if then.get(name) != version]
    note = f"Other versions than when the training began, so numbers may differ slightly: {', '.join(changed)}."
    return (note,) if changed else ()


def _closest(work_dir: Path, picture: Image.Image, options: Options) -> Kept | None:
    """The newest of those that differ least."""
    now = {"picture": _hash_of(picture), **_options(options)}
    free = [kept for kept in states.every(work_dir) if not kept.in_use]
    return min(free, key=lambda kept: len(differences(kept.values["fingerprint"], now, only=now)), default=None)


def fingerprint(
    models: Models,
    options: Options,
    prepared: Prepared,
    captioned: Captioned,
    class_pictures: Sequence[ClassPicture] = (),
) -> dict[str, Any]:
    """What has to be the same for the training to be the same."""
    weights = [models.unet.conv_in.weight, models.unet.conv_out.weight]
    cuts = [(_hash_of(cut.image), _hash_of(cut.mask), cut.repeats) for cut in prepared.cuts]
    of_class = [(_hash_of(picture.image), picture.caption, picture.repeats) for picture in class_pictures]
    return {
        "picture": _hash_of(prepared.picture.image),
        "cuts": _hash_of(repr(cuts)),
        "captions": _hash_of(repr(captioned.of_cuts)),
        "class_pictures": _hash_of(repr(of_class)),
        "checkpoint": f"{models.name} {models.sha256[:10]}".strip(),
        "weights": _hash_of("".join(_hash_of(weight) for weight in weights)),
        "precision": str(models.dtype).removeprefix("torch."),
        **_options(options),
    }


SAID = {
    "picture": "another picture",
    "cuts": "other cuts or masks",
    "captions": "other captions",
    "class_pictures": "other class pictures",
    "weights": "other weights of the checkpoint",
}


def differences(then: Mapping[str, Any], now: Mapping[str, Any], only: Mapping[str, Any] | None = None) -> list[str]:
    """What differs, in words."""
    names = {f.name: f"{f.metadata['label']} ({f.name})" for _, f, _ in each_option()}
    defaults = {f.name: f.default for _, f, _ in each_option()}
    found = []
    for key in dict.fromkeys((*then, *now)) if only is None else only:
        a, b = (side.get(key, defaults.get(key)) for side in (then, now))
        if a != b:
            found.append(SAID.get(key) or f"{names.get(key, key)} was {a}, is {b}")
    return found


def _options(options: Options) -> dict[str, Any]:
    private = set(options.flat()) - set(options.public()) | ANY_WAY
    groups = (getattr(options, part.name) for part in fields(options))
    return {
        f.name: getattr(group, f.name)
        for group in groups
        if isinstance(group, DECISIVE)
        for f in fields(group)
        if f.name not in private
    }


def _hash_of(value: Image.Image | torch.Tensor | str | None) -> str:
    if isinstance(value, Image.Image):
        data = f"{value.mode} {value.size}".encode() + value.tobytes()
    elif isinstance(value, torch.Tensor):
        data = value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    else:
        data = (value or "").encode()
    return hashlib.sha256(data).hexdigest()[:16]


def _packages() -> dict[str, str]:
    found = {"distill": distill.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
