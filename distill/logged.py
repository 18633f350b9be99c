"""The events of a run, passed on and noted in its log; what goes wrong with that is a note."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from distill.errors import OutputError
from distill.events import Event, Noted, Resumed, Sampled
from distill.output.log import Log, Row, opened
from distill.training.loop import Step

LOGS = "logs"
"""In the host's work folder, one folder for each LoRA."""


def logged(
    events: Iterable[Event], folder: Path, how: str, epochs: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Event]:
    """`events`, and as `how` asks for ("none", "csv", "tensorboard", "both") each step into `folder`."""
    if how == "none":
        yield from events
        return
    writer = _Writer(folder, how, epochs, clock)
    try:
        with closing(events):  # type: ignore[type-var]
            for event in events:
                yield event
                yield from map(Noted, writer.note(event))
    finally:
        writer.close()


class _Writer:
    def __init__(self, folder: Path, how: str, epochs: int, clock: Callable[[], float]) -> None:
        self._folder, self._how, self._epochs, self._clock = folder, how, epochs, clock
        self._losses: list[float] = []
        self._logs: list[Log] | None = None  # None until the first step; [] when they can't be written
        self._began_s = clock()

    def note(self, event: Event) -> list[str]:
        """Write down an event; what is to be said about that."""
        try:
            if isinstance(event, Resumed):
                return self._open(self._known(event))
            if isinstance(event, Step):
                notes = self._open([]) if self._logs is None else []
                self._each(lambda log: log.write(self._row(event)))
                return notes
            if isinstance(event, Sampled) and self._logs:
                self._each(lambda log: log.picture(event.image, event.step))
        except (OutputError, OSError) as error:
            self.close()
            said = error.message if isinstance(error, OutputError) else f"{self._folder}: {error.strerror or error}."
            return [f"The log ends here, and the training goes on: {said}"]
        return []

    def close(self) -> None:
        """Whatever comes, nothing is written any more."""
        for log in self._logs or []:
            try:
                log.close()
            except OSError:
                continue
        self._logs = []

    def _open(self, known: list[Row]) -> list[str]:
        self._logs = []
        self._logs, notes = opened(self._folder, self._how, known)
        return notes

    def _each(self, do: Callable[[Log], None]) -> None:
        for log in self._logs or []:
            do(log)

    def _known(self, event: Resumed) -> list[Row]:
        """The steps before the cut; their rates are in the table, if one was written."""
        rows = []
        for index, loss in enumerate(event.losses, start=1):
            self._losses.append(loss)
            rows.append(Row(index, self._epoch(index, event.total), loss, self._average(event.total)))
        return rows

    def _row(self, step: Step) -> Row:
        self._losses.append(step.loss)
        return Row(
            step=step.index,
            epoch=self._epoch(step.index, step.total),
            loss=step.loss,
            average=self._average(step.total),
            lr_unet=step.lr,
            lr_text_encoder=step.text_encoder_lr,
            d_lr=step.d_lr,
            seconds=round(self._clock() - self._began_s, 3),
        )

    def _epoch(self, index: int, total: int) -> int:
        return -(-index * self._epochs // total)

    def _average(self, total: int) -> float:
        recent = self._losses[-(total // self._epochs) :]
        return sum(recent) / len(recent)
