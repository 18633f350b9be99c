"""A picture goes through the VAE while its captions are written, so that its training starts at once."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from distill.host import Host
from distill.jobs.running import free_memory
from distill.options import Options
from distill.plan import Plan
from distill.preparing import prepare
from distill.training.encode import encode_picture

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    picture: Image.Image
    options: Options


class Ahead:
    """Encodes in the background what the tab shows; what comes of it is remembered (`training.encoded`).

    Nobody waits for it and it has no errors of its own: a training encodes what is not there.
    """

    def __init__(self, host: Host, is_training: Callable[[], bool]) -> None:
        self._host, self._is_training = host, is_training
        self._lock = threading.Lock()
        self._asked: _Asked | None = None  # the newest, until it is taken
        self._thread: threading.Thread | None = None

    def start(self, picture: Image.Image, options: Options) -> None:
        """The whole of the picture as it would be trained; it takes the place of one that has not begun. Never raises.

        Only where the checkpoint is loaded, nothing is trained and nothing slow has to be asked for it.
        """
        slow = options.picture.upscaler != "none" or options.picture.mask == "remover"
        if slow or not options.picture.encode_ahead or self._is_training() or not self._at_hand():
            return
        with self._lock:
            self._asked = _Asked(picture.copy(), options)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="distill-ahead", daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """What has not begun is not done any more."""
        with self._lock:
            self._asked = None

    def wait(self, timeout_s: float) -> bool:
        """Whether all that was asked for is over after at most `timeout_s`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """End, and wait until the model is given back."""
        self.cancel()
        self.wait(60)

    def _at_hand(self) -> bool:
        loaded = self._host.loaded()
        return loaded.at_hand and not loaded.problem

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._asked is None:
                    self._thread = None
                    return
            try:
                with self._host.turn(f"distill-{secrets.token_hex(6)}", "Distill: reads the picture"):
                    self._encode()
            except Exception as error:  # noqa: BLE001 - a training meets it again, and says it then
                _log.info("The picture could not be encoded ahead (%s: %s).", type(error).__name__, error)
            free_memory()

    def _encode(self) -> None:
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is None or not self._at_hand():  # the person's wish or the checkpoint has changed meanwhile
            return
        options = asked.options
        with self._host.borrow() as models:
            prepared = prepare(asked.picture, options.picture, models.native_px, Plan(views=()))
            encode_picture(models, prepared.cuts[0].image, flip=options.train.flip)
