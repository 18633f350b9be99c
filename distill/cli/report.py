"""Events as a progress bar with its time left, or as one JSON object a line."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from distill.events import Captioned, Done, Event, Measured, Noted, Prepared, Prepares, Resumed, Sampled, Saved
from distill.training.loop import Step


def say(text: str, as_json: bool = False, **values: Any) -> None:
    """One line on standard output: `text` for people, or the values for machines."""
    print(json.dumps(values, ensure_ascii=False) if as_json else text, flush=True)


def follow(events: Iterable[Event], *, as_json: bool) -> Done:
    """Show every event as it comes; returns the last one."""
    from tqdm import tqdm

    done: Done | None = None
    bar: Any = None
    for event in events:
        if as_json:
            print(json.dumps(_plain(event), ensure_ascii=False), flush=True)
        elif isinstance(event, Prepares):
            bar = bar or tqdm(total=event.total, unit="picture", file=sys.stderr)
            bar.set_description_str(event.text.partition(":")[0], refresh=False)
            bar.update(event.done - bar.n)
            if event.done == event.total:
                bar = bar.close()
        elif isinstance(event, Step):
            bar = bar or tqdm(total=event.total, initial=event.index - 1, unit="step", file=sys.stderr)
            bar.set_postfix_str(f"loss {event.loss:.4f}", refresh=False)
            bar.update()
        else:
            if bar is not None and isinstance(event, Done):
                bar.close()
            for line in _lines(event):
                tqdm.write(line, file=sys.stdout)
        if isinstance(event, Done):
            done = event
    assert done is not None, "the pipeline ends with Done or an error"
    return done


@contextmanager
def interruptible(
    said: str = "Stopping after this step and saving; press Ctrl-C again to discard.",
) -> Iterator[Any]:
    """Yields a callable that says whether Ctrl-C was pressed; a second Ctrl-C raises KeyboardInterrupt."""
    pressed: list[int] = []

    def on_interrupt(signum: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(signum)
        print(f"\n{said}", file=sys.stderr)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _lines(event: Event) -> list[str]:
    if isinstance(event, Prepared):
        width, height = event.image.size
        others = [f"cut       {cut.repeats} x {cut.name or f'picture {cut.shot + 1}'}" for cut in event.cuts[1:]]
        return [f"picture   {width} x {height}", *others, *(f"note      {note}" for note in event.notes)]
    if isinstance(event, Captioned):
        return [f"captions  {', '.join(event.tags)}", *(f"note      {note}" for note in event.notes)]
    if isinstance(event, Resumed):
        return [f"resumed   after step {event.step} of {event.total}", *(f"note      {note}" for note in event.notes)]
    if isinstance(event, Noted):
        return [f"note      {event.note}"]
    if isinstance(event, Measured):
        values = ", ".join(f"{name} {value:.2f}" for name, value in vars(event.reading).items())
        return [f"meters    {values}: {event.verdict}"]
    if isinstance(event, Saved):
        return [f"saved     {event.path}"]
    if isinstance(event, Done):
        return [*([f"early     {event.stopped}"] if event.stopped else []), f"prompt    {event.prompt}"]
    return []


def _plain(event: Event) -> dict[str, Any]:
    """The event as JSON can carry it; pictures are left to the files."""
    kind = type(event).__name__.lower()
    if isinstance(event, Prepared):
        cuts = [
            {"view": cut.name, "picture": cut.shot + 1, "box": cut.box, "repeats": cut.repeats} for cut in event.cuts
        ]
        return {"event": kind, "size_px": list(event.image.size), "notes": list(event.notes), "cuts": cuts}
    if isinstance(event, Measured):
        return {"event": kind, **event.as_json()}
    if isinstance(event, Sampled):
        return {"event": kind, "prompt": event.prompt, "step": event.step}
    return {"event": kind} | {
        k: v if isinstance(v, (int, float, tuple, type(None))) else str(v) for k, v in vars(event).items()
    }
