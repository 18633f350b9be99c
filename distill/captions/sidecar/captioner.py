"""A captioner in a process of its own, with newer packages than the host has; its end gives all memory back."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from distill.captions.captioner import CaptioningStopped, Closing, never
from distill.captions.children import Child, python
from distill.captions.sidecar.packages import chosen, installed, packages
from distill.errors import CaptionError

START_S = 600.0  # to read 9 GB from a slow disk
PATIENCE_S = 2.0  # to end by itself


class SidecarCaptioner(Closing):
    """The model in a folder, opened in a child process; it begins to load at once, and `say` waits until it has."""

    def __init__(self, folder: Path, *, root: Path, name: str = "", device: Any = "cpu") -> None:
        """`root` is where `sidecar_packages` put its packages. Raises CaptionError."""
        self.name = name or folder.name
        self.transformers = ""  # the version in the child, once it is ready
        self._child: Child | None = None
        if not installed(root):
            raise CaptionError(
                f"{self.name} needs transformers {chosen().transformers}, which the sidecar does not have yet.",
                "Install the sidecar's packages first, or choose another captioner.",
            )
        job = json.dumps({"folder": str(folder.absolute()), "name": self.name, "device": str(device)})
        command = python("distill.captions.sidecar.child", job, first=[packages(root)])
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        try:
            self._child = Child(command, {**os.environ, **offline})
        except OSError as error:
            raise CaptionError(f"The sidecar can't be started: {error}.", _OTHER) from None

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """What the model says of an RGB picture. To stop is to end the process. Raises CaptionError."""
        if self._child is None:
            raise CaptionError("The captioner was closed.", "Open it again.")
        try:
            answer = self._answer(image, should_stop)
        except BaseException:  # no process stays behind whose next answer would be to an old question
            self.close(patience_s=0.0)
            raise
        if "error" in answer:
            raise CaptionError(answer["error"], answer["hint"])
        return str(answer["said"])

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """End the process; more than once does no harm."""
        child, self._child = self._child, None
        if child is not None:
            child.end(patience_s)

    def _answer(self, image: Image.Image, should_stop: Callable[[], bool]) -> dict[str, Any]:
        if not self.transformers:
            ready = self._next(should_stop, START_S)
            if "error" in ready:
                return ready
            self.transformers = str(ready["transformers"])
        self._ask(image)
        return self._next(should_stop)

    def _ask(self, image: Image.Image) -> None:
        assert self._child is not None
        assert self._child.process.stdin is not None
        picture = io.BytesIO()
        image.convert("RGB").save(picture, "PNG", compress_level=1)
        line = json.dumps({"picture": base64.b64encode(picture.getvalue()).decode()}).encode() + b"\n"
        try:
            self._child.process.stdin.write(line)
            self._child.process.stdin.flush()
        except OSError:
            raise self._died() from None

    def _next(self, should_stop: Callable[[], bool], timeout_s: float = float("inf")) -> dict[str, Any]:
        assert self._child is not None
        if should_stop():
            raise CaptioningStopped
        try:
            line = self._child.next_line(should_stop, timeout_s)
        except TimeoutError:
            raise CaptionError(f"{self.name} did not start within {timeout_s:.0f} s.", _OTHER) from None
        if line is None:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> CaptionError:
        assert self._child is not None
        said = self._child.last_error()
        code = self._child.end(PATIENCE_S)
        if code == -9:
            return CaptionError(
                f"The system ended {self.name}, most likely because memory ran out.", "Choose a smaller captioner."
            )
        return CaptionError(f"{self.name} ended with code {code}: {said or 'it said nothing'}", _OTHER)


_OTHER = "Your captions are as they were. Choose another captioner."
