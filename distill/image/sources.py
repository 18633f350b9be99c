"""Gets a picture's bytes, and guesses what a file is that is no picture."""

from __future__ import annotations

from pathlib import Path

from distill.errors import PictureError

MAX_FILE_MIB = 256

_KNOWN: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyphei", "It looks like a HEIC photo: save it as JPEG or PNG first."),
    (4, b"ftypmif1", "It looks like a HEIC photo: save it as JPEG or PNG first."),
    (4, b"ftyp", "It looks like a video: save one frame of it as PNG."),
    (0, b"\x1a\x45\xdf\xa3", "It looks like a video: save one frame of it as PNG."),
    (0, b"%PDF", "It is a PDF: save the picture in it as PNG."),
    (0, b"8BPS", "It is a Photoshop file: save it as PNG."),
    (0, b"PK\x03\x04", "It is a ZIP archive: take the picture out of it first."),
    (0, b"<svg", "It is a vector drawing: save it as PNG."),
    (0, b"<?xml", "It is a vector drawing or text: save it as PNG."),
    (0, b"<!DOCTYPE", "It is a web page: save the picture that the page shows."),
    (0, b"<html", "It is a web page: save the picture that the page shows."),
)


def read(source: Path | bytes) -> bytes:
    """The bytes of a picture file of at most 256 MiB. Raises PictureError."""
    if isinstance(source, bytes):
        if not source:
            raise PictureError("The picture is empty (0 bytes).", "Copy or download it again.")
        return source
    try:
        return _read_file(source)
    except (OSError, ValueError) as error:
        raise explained(error, source) from None


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        raise PictureError(f"{path} is a folder.", "Choose one picture in it.")
    size_mib = path.stat().st_size / 2**20
    if size_mib > MAX_FILE_MIB:
        raise PictureError(f"{path} has {size_mib:.0f} MiB, which is too large for a picture.", "Choose another file.")
    data = path.read_bytes()
    if not data:
        raise PictureError(f"{path} is empty (0 bytes).", "Copy or download the picture again.")
    return data


def explained(error: Exception, path: Path) -> PictureError:
    """An error of the file system in words."""
    if isinstance(error, FileNotFoundError):
        return PictureError(f"There is no file {path}.", "Check the path.")
    if isinstance(error, PermissionError):
        return PictureError(f"You may not read {path}.", "Change the file's permissions, or copy it elsewhere.")
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return PictureError(f"{path} can't be read: {said}.", "Check the path and the disk.")


def hint_for(data: bytes) -> str:
    """What to do with a file that is no picture, by its first bytes."""
    for offset, mark, hint in _KNOWN:
        if data[offset : offset + len(mark)].lower() == mark.lower():
            return hint
    return "JPEG, PNG, WebP, GIF, BMP and TIFF files can be read."
