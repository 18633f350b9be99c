"""Whether the loaded checkpoint sees each caption in the picture: measured in the background, one check at a time."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from distill.captions.tags import group_of, subject_of, tidy, without_class
from distill.errors import CheckpointError, JobError
from distill.host import Host, Models, Turn
from distill.jobs.running import free_memory, said
from distill.options import Options
from distill.pipeline import prepare
from distill.training.grounding import Progress, Verdict, ground

KEPT = 500  # verdicts that are remembered
SEED = 0  # of the noise: the same picture and captions always get the same verdicts
ACTIVE = ("waiting", "running")
TRAINING = "A LoRA is being trained now."

KINDS = {
    "hair": "hair",
    "eyes": "eyes",
    "face": "face",
    "body": "body",
    "expression": "expression",
    "clothing": "sweater",
    "accessories": "necklace",
    "pose": "pose",
    "camera": "view",
    "background": "background",
    "style": "style",
    "artifacts": "text",
}
"""A word of each group that every SD1.5 checkpoint knows, to pair an unknown one with."""

_Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """A check of the captions as it is now."""

    state: str = "idle"  # idle, waiting, running, done, cancelled, failed
    done: int = 0  # passes of the UNet
    total: int = 0  # at most so many
    text: str = ""  # what goes on, one sentence
    verdicts: tuple[Verdict, ...] = ()  # in the order of the captions, as far as there are
    error: str = ""
    hint: str = ""

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE


@dataclass(frozen=True, kw_only=True)
class _Check:
    """What is asked for."""

    image: Image.Image  # as it would be trained on
    class_word: str
    captions: tuple[str, ...]  # all, without trigger and class
    context: tuple[str, ...]  # what else is in the picture
    clip_skip: int
    about: _Key  # checkpoint, picture, class, clip skip
    stop: threading.Event

    def missing(self, known: OrderedDict[_Key, Verdict]) -> tuple[str, ...]:
        return tuple(tag for tag in self.captions if (*self.about, tag) not in known)


class Words:
    """Checks captions on behalf of tab, API and command line; a later check takes the place of an earlier one."""

    def __init__(self, host: Host, is_training: Callable[[], bool]) -> None:
        self._host, self._is_training = host, is_training
        self._lock = threading.RLock()
        self._now = Grounding()
        self._check: _Check | None = None
        self._thread: threading.Thread | None = None
        self._known: OrderedDict[_Key, Verdict] = OrderedDict()  # the last used last

    def start(
        self, picture: Image.Image, tags: Sequence[str], options: Options, context: Sequence[str] = ()
    ) -> Grounding:
        """Check the captions in the background; what is known already is told at once.

        `context` is what a captioner saw in the picture, not judged itself: the more of a picture is named, the
        surer is what one caption adds. The first tag is not judged if it is trigger and class, nor is one that only
        names the class.
        Raises JobError while a LoRA is trained, CheckpointError and PictureError.
        """
        if self._is_training():
            raise JobError(TRAINING, "Check the captions when it has ended.")
        loaded = self._host.loaded()
        if loaded.problem:
            raise CheckpointError(loaded.problem)
        image = prepare(picture, options.picture, loaded.native_px).image
        check = _asked(image, tidy(tags), tidy(context), options, loaded.name)
        with self._lock:
            if self._check is not None:
                self._check.stop.set()
            self._check, self._now = check, Grounding(verdicts=self._verdicts(check))
            if not check.missing(self._known):
                self._end(check, "done", "Every caption is checked.")
                return self._now
            self._tell(check, state="waiting", text="Waits until the picture that is being made is done.")
            self._thread = threading.Thread(target=self._work, args=(check,), name="distill-words", daemon=True)
            self._thread.start()
        if self._is_training():  # a training that came meanwhile goes first
            self.cancel("Stopped: a training goes first.")
            raise JobError(TRAINING, "Check the captions when it has ended.")
        return self.snapshot()

    def cancel(self, text: str = "Stopped.") -> Grounding:
        """End the check, if there is one, and keep its verdicts; the model is back after the pass at work."""
        with self._lock:
            if self._check is not None:
                self._check.stop.set()
                self._end(self._check, "cancelled", text)
            return self._now

    def snapshot(self) -> Grounding:
        """The check as it is now."""
        with self._lock:
            return self._now

    def wait(self, timeout_s: float) -> Grounding:
        """The check when it has ended and the model is given back, or as it is after `timeout_s`."""
        until = time.monotonic() + timeout_s
        thread = None
        while thread is not (thread := self._thread) and thread is not None:  # another may have taken its place
            thread.join(max(0.0, until - time.monotonic()))
        return self.snapshot()

    def close(self) -> None:
        """End the check and wait until the model is given back."""
        self.cancel()
        self.wait(60)

    def _work(self, check: _Check) -> None:
        try:
            with self._host.turn(f"distill-{secrets.token_hex(6)}", "Distill: checks the captions") as turn:
                if not check.stop.is_set():
                    self._tell(check, state="running", text="Gets the checkpoint ready.")
                    with self._host.borrow() as models:
                        self._measure(check, models, turn)
        except Exception as error:  # noqa: BLE001 - told to whoever asks for the snapshot
            message, hint = said(error)
            if message.startswith("Out of memory"):
                hint = "Close what else uses the device, or choose a smaller resolution."
            self._end(check, "failed", message, error=message, hint=hint)
        else:
            self._end(check, "done", "Every caption is checked.")
            return
        free_memory()  # not in the `except`: there the error still holds the frames and their tensors

    def _measure(self, check: _Check, models: Models, turn: Turn) -> None:
        missing = check.missing(self._known)
        events = ground(
            models,
            check.image,
            missing,
            class_word=check.class_word,
            among=tidy((*check.captions, *check.context)),
            kinds={tag: _kind_of(tag) for tag in missing},
            clip_skip=check.clip_skip,
            generator=torch.Generator().manual_seed(SEED),
        )
        with contextlib.closing(events):  # type: ignore[type-var]
            for event in events:
                if turn.interrupted():
                    self._end(check, "cancelled", "Stopped.")
                if check.stop.is_set() or turn.interrupted():
                    return
                self._note(check, event, turn)

    def _note(self, check: _Check, event: Progress | Verdict, turn: Turn) -> None:
        if isinstance(event, Verdict):
            with self._lock:
                self._known[(*check.about, event.tag)] = event
                while len(self._known) > KEPT:
                    self._known.popitem(last=False)
                self._tell(check, verdicts=self._verdicts(check))
            return
        text = f"Looks for “{event.tag}”." if event.tag else "Measures what words reach by chance."
        self._tell(check, done=event.done, total=event.total, text=text)
        turn.report(event.done, event.total, text)

    def _verdicts(self, check: _Check) -> tuple[Verdict, ...]:
        keys = [key for tag in check.captions if (key := (*check.about, tag)) in self._known]
        for key in keys:
            self._known.move_to_end(key)  # still in use
        return tuple(self._known[key] for key in keys)

    def _tell(self, check: _Check, **changes: object) -> None:
        """Changes of the check at work; one whose place was taken is not heard any more."""
        with self._lock:
            if self._check is check:
                self._now = replace(self._now, **changes)  # type: ignore[arg-type]

    def _end(self, check: _Check, state: str, text: str, *, error: str = "", hint: str = "") -> None:
        """Its last change; a second end is not heard."""
        with self._lock:
            if self._check is check:
                self._now = replace(self._now, state=state, text=text, error=error, hint=hint)
                self._check = None


def _asked(image: Image.Image, tags: list[str], context: list[str], options: Options, checkpoint: str) -> _Check:
    class_word = subject_of(tags).class_word
    trigger = options.caption.trigger.strip().lower()
    if tags and (tags[0].split()[-1:] == [class_word] or (trigger and tags[0].startswith(trigger))):
        tags = tags[1:]
    picture = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    return _Check(
        image=image,
        class_word=class_word,
        captions=tuple(without_class(tags)),
        context=tuple(without_class(context)),
        clip_skip=options.caption.clip_skip,
        about=(checkpoint, picture, class_word, str(options.caption.clip_skip), *context),
        stop=threading.Event(),
    )


def _kind_of(tag: str) -> str:
    """The tag with a known word of its group: "zigzag pattern sweater"; "" where the group has none."""
    kind = KINDS.get(group_of(tag), "")
    return f"{tag} {kind}" if kind and kind not in tag.split() else ""
