"""Who writes the captions: the captioners that can be chosen by name, each loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from distill.captions.captioner import Captioner, Closing, never
from distill.errors import CaptionError
from distill.options import CaptionOptions

POCKET_FOLDER = Path(__file__).parents[1] / "pocket" / "captioner"
NAMES = ("auto", "none", "pocket", "endpoint")
"""What the option `captioner` may name, other than a folder."""

NOT_ON_DEVICE = ("none", "endpoint")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What captioners find where they work."""

    checkpoint: str = ""  # the loaded one's name: the bundled captioner knows the bundled checkpoint's world only
    folder: Path | None = None  # where downloaded captioners are kept
    key: str = ""  # the endpoint's


class NoCaptioner(Closing):
    """Says nothing: the box stays empty and the user writes the captions."""

    name = "none"

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """No tags."""
        return ""


def resolved(options: CaptionOptions, desk: Desk) -> tuple[str, ...]:
    """The choices that the option `captioner` stands for, "auto" replaced by what is at hand; without "none"."""
    wanted = options.captioner.strip()
    names = _auto(options, desk) if wanted == "auto" else [part.strip() for part in wanted.split("+")]
    if Path(wanted).expanduser().is_dir():  # a folder may have a + in its name
        names = [wanted]
    return tuple(name for name in dict.fromkeys(names) if name != "none")


def _auto(options: CaptionOptions, desk: Desk) -> list[str]:
    if desk.checkpoint == "pocket":
        return ["pocket"]
    if options.endpoint.strip():
        return ["endpoint"]
    return ["none"]


def needs_device(options: CaptionOptions, desk: Desk) -> bool:
    """Whether one of them computes on this machine, so that it has to wait for its turn."""
    return any(name not in NOT_ON_DEVICE for name in resolved(options, desk))


def open_captioner(choice: str, options: CaptionOptions, desk: Desk) -> Captioner:
    """The captioner of that name, or a model in the folder of that path; nothing is ever downloaded here.

    Raises CaptionError.
    """
    if choice == "none":
        return NoCaptioner()
    if choice == "pocket":
        return _in_folder(POCKET_FOLDER, "pocket")
    folder = Path(choice).expanduser()
    if not choice or not folder.is_dir():
        raise CaptionError(
            f"There is no captioner {choice!r}.",
            "Choose auto, none, pocket, or the path of a folder with a BLIP model in it. Nothing is downloaded.",
        )
    return _in_folder(folder, folder.name)


def _in_folder(folder: Path, name: str) -> Captioner:
    from distill.captions.blip import BlipCaptioner

    return BlipCaptioner(folder, name=name)
