"""The captioner's turn at the host: one picture at a time, and it can be stopped."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image

from distill.captions.backends import needs_device
from distill.captions.captioner import never
from distill.captions.portrait import Description
from distill.errors import CaptionError, DistillError
from distill.host import Host
from distill.jobs.running import said
from distill.options import CaptionOptions, PictureOptions
from distill.pipeline import caption, desk_of, prepare


class Captioning:
    """Asks captioners on behalf of tab and API."""

    def __init__(self, host: Host, is_training: Callable[[], bool]) -> None:
        self._host, self._is_training = host, is_training
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None  # of the picture that is being described

    def describe(self, picture: Image.Image, options: CaptionOptions, key: str = "") -> Description:
        """What is in the picture, when the host has time; not while a LoRA is trained on the same device.

        `key` is the endpoint's. Raises DistillError.
        """
        desk = desk_of(self._host, self._host.loaded().name, key=key)
        on_device = needs_device(options, desk)
        if on_device and self._is_training():
            raise CaptionError("A LoRA is being trained now.", "Describe when it has ended, or write the captions.")
        # 512 px shows a captioner all that it can use, whatever the picture is trained at later.
        image = prepare(picture, PictureOptions(), native_px=512).image
        asked = self._begin()
        try:
            with _turn(self._host, on_device) as interrupted:
                return caption(image, options, desk, lambda: asked.is_set() or interrupted())
        except DistillError:
            raise
        except Exception as error:
            raise CaptionError(*said(error)) from error
        finally:
            with self._lock:
                self._stop = None

    def stop(self) -> None:
        """End the description that is being made, if one is."""
        with self._lock:
            if self._stop is not None:
                self._stop.set()

    def _begin(self) -> threading.Event:
        with self._lock:
            if self._stop is not None:
                raise CaptionError("A picture is being described already.", "Wait for it, or stop it.")
            self._stop = threading.Event()
            return self._stop


@contextmanager
def _turn(host: Host, on_device: bool) -> Iterator[Callable[[], bool]]:
    """The host's turn where the device is needed, as the question whether the person pressed its Interrupt."""
    if not on_device:
        yield never
        return
    with host.turn(f"distill-{secrets.token_hex(6)}", "Distill: captions") as turn:
        yield turn.interrupted
