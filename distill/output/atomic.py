"""A file only when whole: write beside, flush, then give it its name."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from distill.errors import OutputError

REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space and save again."),
    errno.EDQUOT: ("your disk quota is used up", "Free some space and save again."),
    errno.EFBIG: ("the file is larger than is allowed here", "Choose another folder."),
    errno.EROFS: ("the disk is read-only", "Choose another folder."),
    errno.EACCES: ("writing there is not permitted", "Choose another folder or change its rights."),
    errno.EPERM: ("writing there is not permitted", "Choose another folder or change its rights."),
    errno.ENOENT: ("its folder is not there", "Make the folder or choose another."),
    errno.ENOTDIR: ("its folder is a file", "Choose another folder."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
}
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}


def write(path: Path, *data: bytes | memoryview, replace: bool = False) -> None:
    """Write all of `data` to `path`, whole or not at all.

    Raises OutputError when it can't be written, or when `path` exists and `replace` is not set;
    then nothing was changed and nothing half-written is left.
    """
    # A hidden name without .safetensors: WebUIs that scan the folder meanwhile don't see it.
    beside = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.writelines(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(beside, path)
        else:
            _take_name(beside, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make `folder` if need be and try a file in it; raises OutputError before any work is lost."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder.", "Choose another folder.")
    probe = folder / f".distill-{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"distill")
    except OSError as error:
        raise _refusal(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _take_name(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)  # unlike rename, this never replaces a file that came in between
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():  # exFAT and some network disks have no links
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(beside, path)


def _refusal(path: Path, error: OSError) -> OutputError:
    if isinstance(error, FileExistsError):
        return OutputError(f"{path.name} exists already and was left alone.", "Choose another name.")
    reason, hint = REASONS.get(error.errno or 0, (error.strerror or str(error), "Choose another folder."))
    return OutputError(f"{path} can't be written: {reason}. Nothing half-written is left.", hint)
