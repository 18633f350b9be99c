"""How long it takes: measured while a job runs, kept for the next one."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.errors import OutputError
from distill.events import Captioned, Event, Prepared, Prepares, Resumed, Sampled
from distill.jobs.job import steps_of
from distill.options import Options
from distill.output import atomic
from distill.saving import QUICK_STEPS
from distill.training.loop import Step

FILE = "costs.json"
RECENT = 20  # steps whose median says how long the next ones take
KEPT = 100  # measurements in the file
STEP_TO_SAMPLING = 0.7  # two forward passes against a forward and a backward one, until it is measured


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the time of a step depends on."""

    checkpoint: str
    px: int
    batch_size: int
    network_dim: int
    gradient_checkpointing: bool
    train_text_encoder: bool
    teachers: int = 0  # that steps ask
    teacher_every: int = 1  # how many steps one such comes in


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One measurement, in seconds."""

    setting: Setting
    step_s: float
    sampling_step_s: float  # 0 when no picture was made
    rest_s: float  # loading, encoding, saving


def setting_of(options: Options, checkpoint: str, native_px: int) -> Setting:
    """The setting that a job with these options is measured under."""
    train, reg = options.train, options.regularization
    teachers = bool(reg.teacher_class) + bool(reg.teacher_blank)
    return Setting(
        checkpoint=checkpoint,
        px=options.picture.resolution or native_px,
        batch_size=train.batch_size * train.gradient_accumulation,
        network_dim=options.network.network_dim,
        gradient_checkpointing=train.gradient_checkpointing,
        train_text_encoder=train.train_text_encoder,
        teachers=teachers,
        teacher_every=reg.teacher_every if teachers else 1,
    )


def sampling_steps(options: Options, after_step: int = 0, total: int = 0) -> int:
    """Sampling steps of all pictures that a job still makes after `after_step` of its `total` steps of training."""
    train, sample = options.train, options.sample
    quick = min(QUICK_STEPS, sample.sample_steps)
    begun = after_step * train.epochs // (total or options.steps)
    epochs = range(begun + 1, train.epochs)  # the last epoch has the card's picture instead
    pictures = sum(epoch % sample.sample_every == 0 for epoch in epochs) if sample.sample_every else 0
    return pictures * quick + (sample.sample_steps if options.output.preview else 0)


class Pace:
    """A running job's clock: the time between two events belongs to what the later one tells of."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        self._started_s = self._last_s = clock()
        self._last: Event | None = None
        self._steps: list[float] = []
        self._sampling: list[float] = []  # seconds per sampling step, of each picture
        self._pictures_s = 0.0
        self._done, self._total = 0, options.steps
        self._is_whole = True  # and not the rest of a training that was cut off

    def note(self, event: Event) -> None:
        """To be told of each event as it comes."""
        now = self._clock()
        passed_s = now - self._last_s
        if isinstance(event, Step):
            # The first step also has the encoding in it.
            if not isinstance(self._last, Captioned | Prepares | Resumed):
                self._steps.append(passed_s)
            self._done, self._total = event.index, event.total
        elif isinstance(event, Sampled):
            is_last = event.step == self._total
            steps = self._options.sample.sample_steps
            self._sampling.append(passed_s / (steps if is_last else min(QUICK_STEPS, steps)))
            self._pictures_s += passed_s
        elif isinstance(event, Prepared):
            self._total = steps_of(event, self._options)
        elif isinstance(event, Resumed):
            self._done, self._is_whole = event.step, False
        elif isinstance(event, Prepares):
            self._pictures_s += passed_s  # the next training has them already
        self._last, self._last_s = event, now

    @property
    def seconds(self) -> float:
        """Since the job was started."""
        return self._clock() - self._started_s

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end; None until two steps are done."""
        if not self._steps:
            return None
        step_s = self._step_s(RECENT)
        sampling_s = self._sampling[-1] if self._sampling else step_s * STEP_TO_SAMPLING
        left = self._total - self._done
        return left * step_s + sampling_steps(self._options, self._done, self._total) * sampling_s

    def _step_s(self, recent: int) -> float:
        """Of one step: the median of as many, or their mean where some ask a teacher and others don't."""
        every = self._options.regularization.teacher_every
        return statistics.median(self._steps[-recent:]) if every == 1 else statistics.fmean(self._steps[-recent:])

    def cost(self, setting: Setting) -> Cost | None:
        """What this job cost, once it is done; None when it was too short to tell."""
        if not self._steps or not self._is_whole:
            return None
        step_s = self._step_s(len(self._steps))
        return Cost(
            setting=setting,
            step_s=step_s,
            sampling_step_s=statistics.median(self._sampling) if self._sampling else 0.0,
            rest_s=max(0.0, self.seconds - self._done * step_s - self._pictures_s),
        )


def sentence(options: Options, setting: Setting, known: list[Cost], pictures: int | None = 1) -> str:
    """The one line that says what a job will cost, from the newest measurement that fits.

    `pictures` is what all pictures and views are repeated together, None where it isn't known yet.
    """
    steps = options.steps_of(pictures or 1)
    each = " for each picture and view" if pictures is None and options.steps_of(2) > steps else ""
    what = f"{steps} steps{each} at {setting.px} px"
    cost, how = _fitting(setting, known)
    if cost is None:
        return f"{what}: how long it takes here is not measured yet with these settings."
    sampling_s = cost.sampling_step_s or cost.step_s * STEP_TO_SAMPLING
    seconds = cost.rest_s + steps * cost.step_s + sampling_steps(options) * sampling_s
    return f"{what}: about {spoken(seconds)}, as measured {how}."


def _fitting(setting: Setting, known: list[Cost]) -> tuple[Cost | None, str]:
    """Steps and pictures add up, and the rank hardly matters; size and batch don't scale in a way we know."""
    for cost in reversed(known):
        if cost.setting == setting:
            return cost, "last time here"
    for cost in reversed(known):
        if asdict(cost.setting) | {"network_dim": setting.network_dim} == asdict(setting):
            return cost, f"here with rank {cost.setting.network_dim}"
    return None, ""


def spoken(seconds: float) -> str:
    """A duration for people: 8 s, 1 min 40 s, 2 h 5 min."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(5 * round(whole / 5), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if rest_s and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def read(work_dir: Path) -> list[Cost]:
    """The measurements kept in `work_dir`, oldest first; none where the file is missing or damaged."""
    try:
        return [_cost(entry) for entry in json.loads((work_dir / FILE).read_text("utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def keep(work_dir: Path, cost: Cost) -> None:
    """Add a measurement in place of the last one of the same setting. Where it can't be written, it is lost."""
    costs = [*(known for known in read(work_dir) if known.setting != cost.setting), cost][-KEPT:]
    text = json.dumps([asdict(known) for known in costs], indent=1)
    with contextlib.suppress(OutputError, OSError):
        work_dir.mkdir(parents=True, exist_ok=True)
        atomic.write(work_dir / FILE, text.encode(), replace=True)


def _cost(entry: dict[str, Any]) -> Cost:
    seconds = {name: float(entry[name]) for name in ("step_s", "sampling_step_s", "rest_s")}
    if not all(0 <= value < 1e7 for value in seconds.values()):
        raise ValueError("not a duration")
    return Cost(setting=Setting(**entry["setting"]), **seconds)
