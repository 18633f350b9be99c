"""The one thing that captioners have in common: they look at a picture and say something."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from PIL import Image

from distill.errors import CaptionError


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Captioner(Protocol):
    """Looks at one RGB picture and says what it sees; used in a `with`, which frees the memory at its end."""

    name: str  # for messages and metadata

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """Labelled lines, a comma list of tags or a sentence: `portrait.read` takes them all.

        The same for the same picture. `should_stop` is asked often. Raises CaptionError, CaptioningStopped.
        """
        ...

    def close(self) -> None:
        """Give the memory back; more than once does no harm."""
        ...

    def __enter__(self) -> Captioner: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """`close` at the end of a `with`, for captioners to inherit."""

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self):  # type: ignore[no-untyped-def]  # Self is not in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CaptioningStopped(CaptionError):
    """The person stopped the captioner; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("Captioning was stopped.", "Your captions are as they were.")
