"""Class pictures of one's own: a folder, or the sub-folder of it that fits the subject's class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from distill.captions.tags import join, parse, subject_of, without_class
from distill.errors import OptionError, PictureError
from distill.image import crops
from distill.image.loading import load
from distill.options import PictureOptions
from distill.training.prior import ClassPicture

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2", ".qoi")
MOST_NAMED = 3  # of the pictures that can't be used
_NUMBERED = re.compile(r"(\d+)_(.+)")


def check_folder(folder: str) -> Path:
    """The folder of class pictures; raises OptionError when there is none."""
    if not folder.strip():
        raise OptionError("Class pictures are to come from a folder, and none is given.", "Give reg_folder a path.")
    path = Path(folder.strip()).expanduser()
    if not path.is_dir():
        raise OptionError(f"There is no folder {path} of class pictures.", "Check its path.")
    return path


def own_pictures(
    root: Path, class_word: str, options: PictureOptions, resolution_px: int, most: int
) -> tuple[list[ClassPicture], list[str]]:
    """At most `most` pictures of the class in the order of their names, and what is worth saying of them.

    Raises OptionError when none can be used.
    """
    pictures: list[ClassPicture] = []
    left_out: list[str] = []
    notes: list[str] = []
    paths = list(_paths(root, class_word))
    for path, repeats, said in paths:
        if len(pictures) == most:
            break
        try:
            image = load(path).image
        except PictureError as error:
            left_out.append(f"{path.name} ({error.message})")
            continue
        caption = _caption(path, said, notes)
        fitted = crops.fit(image, resolution_px, options.crop)
        pictures.append(ClassPicture(fitted, caption, repeats, path.parent.name))
    if not pictures:
        why = f"none of {len(paths)} can be opened" if paths else "there is none"
        raise OptionError(f"No picture of a {class_word} in {root}: {why}.", "Nothing was begun; check the folder.")
    if left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        notes.append(f"Class pictures left out: {', '.join(left_out[:MOST_NAMED])}{more}")
    return pictures, notes


def _paths(root: Path, class_word: str) -> Iterator[tuple[Path, int, str]]:
    """Each picture with its folder's repeats and with what it shows by its folder's name, else the class."""
    for folder in _folders(root, class_word):
        numbered = _NUMBERED.fullmatch(folder.name)
        repeats, said = (int(numbered[1]), numbered[2].replace("_", " ")) if numbered else (1, class_word)
        for path in _pictures(folder):
            yield path, max(1, repeats), said


def _folders(root: Path, class_word: str) -> Sequence[Path]:
    """The sub-folders of the class, else the folder itself, else all that kohya would take ("1_portrait")."""
    folders = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.name)
    fitting = [path for path in folders if _class_of(path) == class_word and _pictures(path)]
    if fitting:
        return fitting
    if _pictures(root):
        return [root]
    return [path for path in folders if _NUMBERED.fullmatch(path.name) and _class_of(path) in ("", "person")]


def _class_of(folder: Path) -> str:
    """ "woman" for "1_woman", "girl" or "2_photo of a woman"; "" when the name has no class in it."""
    numbered = _NUMBERED.fullmatch(folder.name)
    words = re.findall(r"[^\W_]+", (numbered[2] if numbered else folder.name).lower())
    names_one = len(without_class(words)) < len(words)
    return subject_of(words).class_word if names_one else ""


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())


def _caption(path: Path, said: str, notes: list[str]) -> str:
    """Of the text beside the picture, else what its folder says."""
    beside = path.with_suffix(".txt")
    try:
        return join(parse(beside.read_text("utf-8-sig"))) or said
    except FileNotFoundError:
        return said
    except (OSError, UnicodeDecodeError):
        notes.append(f"{beside.name} can't be read as UTF-8 text; “{said}” is taken instead.")
        return said
