"""Who writes the captions: a short list of captioners, each loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from distill.captions.captioner import Captioner, Closing, never
from distill.errors import CaptionError

POCKET_FOLDER = Path(__file__).parents[1] / "pocket" / "captioner"


class NoCaptioner(Closing):
    """Says nothing: the box stays empty and the user writes the captions."""

    name = "none"

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """No tags."""
        return ""


@dataclass(frozen=True)
class Backend:
    """One captioner that can be chosen by name."""

    name: str
    label: str
    open: Callable[[Any], Captioner]  # takes the torch device


def _blip(folder: Path, name: str, device: Any) -> Captioner:
    from distill.captions.blip import BlipCaptioner

    return BlipCaptioner(folder, name=name, device=device)


BACKENDS: tuple[Backend, ...] = (
    Backend("none", "None: write the captions yourself", lambda device: NoCaptioner()),
    Backend(
        "pocket",
        "Pocket: bundled, knows the demo's portraits only",
        lambda device: _blip(POCKET_FOLDER, "pocket", device),
    ),
)


def open_captioner(choice: str, *, auto: str = "none", device: Any = "cpu") -> Captioner:
    """The captioner of that name, or a BLIP model in the folder of that path; nothing is ever downloaded.

    `auto` is what the choice "auto" stands for: the caller knows which checkpoint is loaded. Raises CaptionError.
    """
    wanted = auto if choice == "auto" else choice
    for backend in BACKENDS:
        if backend.name == wanted:
            return backend.open(device)
    folder = Path(wanted).expanduser()
    if not wanted or not folder.is_dir():
        names = ", ".join(backend.name for backend in BACKENDS)
        raise CaptionError(
            f"There is no captioner {wanted!r}.",
            f"Choose auto, {names}, or the path of a folder with a BLIP model in it. Nothing is downloaded.",
        )
    return _blip(folder, folder.name, device)
