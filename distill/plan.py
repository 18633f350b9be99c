"""What a person gives beside the one picture and its captions: views, a mask, more pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from distill.options import TrainOptions

Box = tuple[float, float, float, float]
"""Left, upper, right, lower edge as shares of the upright picture, 0 to 1."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class View:
    """A cut of the picture that is trained as one more picture."""

    name: str  # "face"
    box: Box
    words: tuple[str, ...] = ()  # the tags that say which cut it is: "close-up"
    tags: tuple[str, ...] | None = None  # its captions; None: the picture's, with `words`
    repeats: int = 1  # how often it comes, beside the others


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What belongs to one picture; the defaults are the picture alone, or the views that the options propose."""

    views: tuple[View, ...] | None = None  # None: as `PictureOptions.views` proposes
    mask: Image.Image | None = None  # L, of any size, over the whole upright picture: 255 is the subject
    alpha: Image.Image | None = None  # likewise the picture's transparency, where a source without it is given
    repeats: int = 0  # of the whole picture; 0: as often as all of its views together
    more: tuple[Shot, ...] = ()

    def counted(self, options: TrainOptions) -> Plan:
        """With the repeats that `repeats_of` means: of "picture" the whole one comes as often as a view (kohya)."""
        if options.repeats_of == "epoch":
            return self
        more = tuple(replace(shot, plan=shot.plan.counted(options)) for shot in self.more)
        return replace(self, repeats=self.repeats or 1, more=more)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A further picture of the same subject."""

    source: Path | bytes | Image.Image
    tags: tuple[str, ...] | None = None  # None: the captioner is asked
    plan: Plan = Plan()  # its own `more` is not looked at
