"""The class pictures of one training: from their folder or from the checkpoint, described where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

from distill.captions.backends import Desk
from distill.events import Captioned, Noted, Prepared, Prepares
from distill.host import Models
from distill.options import Options
from distill.regularization.described import described
from distill.regularization.folder import check_folder, own_pictures
from distill.regularization.generated import generated, kind_of
from distill.training.encode import own_draws
from distill.training.prior import ClassPicture

FOLDER = "class-pictures"  # in the host's work_dir


def check(options: Options) -> None:
    """Raises OptionError where class pictures are wanted from a folder that is not there."""
    if options.regularization.reg_pictures == "folder":
        check_folder(options.regularization.reg_folder)


def class_pictures(
    models: Models,
    prepared: Prepared,
    captioned: Captioned,
    options: Options,
    desk: Desk,
    work_dir: Path,
    should_stop: Callable[[], bool],
) -> Generator[Prepares | Noted, None, tuple[ClassPicture, ...]]:
    """As many as an epoch has use for, in the order in which kohya takes them; none when none are asked for.

    Raises OptionError when no picture can be used, TrainingError and CaptioningStopped when stopped.
    """
    reg, kept_in = options.regularization, work_dir / FOLDER
    if reg.reg_pictures == "none":
        return ()
    used = own_draws([cut.repeats for cut in prepared.cuts], options.train)
    count = min(reg.reg_count, used)
    if count < reg.reg_count:
        yield Noted(f"Of {reg.reg_count} class pictures {count} are used: as many as yours come in an epoch.")
    if reg.reg_pictures == "folder":
        resolution_px = options.picture.resolution or models.native_px
        root = check_folder(reg.reg_folder)
        pictures, notes = own_pictures(root, captioned.class_word, options.picture, resolution_px, count)
        yield from map(Noted, notes)
    else:
        kind = kind_of(models, options, captioned.class_word, prepared.image.size)
        pictures = yield from generated(models, kind, kept_in, count, should_stop)
    if reg.reg_captioned:
        captions_in = kept_in / "captions"
        args = (models, pictures, captioned.class_word, options.caption, desk, captions_in, should_stop)
        pictures = yield from described(*args)
    return tuple(pictures)
