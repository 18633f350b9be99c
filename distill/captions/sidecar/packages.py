"""A private set of packages for the sidecar: a newer transformers in a folder of ours, beside the host's untouched one.

Which versions work with which torch was tried out: transformers 4.55 breaks Qwen2-VL and 4.57 does not import with
torch 2.1, which A1111 pins.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from distill.captions.captioner import never
from distill.captions.children import Child, python
from distill.captions.fetching.catalogue import version
from distill.errors import CaptionError

MARK = "distill-packages.json"
CHECK_S = 180.0  # to import it for the first time, on a slow disk


@dataclass(frozen=True, kw_only=True)
class PackageSet:
    """Packages that work together, as pip is told."""

    transformers: str
    others: tuple[str, ...]
    size_mib: int  # on the disk
    download_mib: int

    @property
    def pins(self) -> tuple[str, ...]:
        """All of them."""
        return (f"transformers=={self.transformers}", *self.others)


FOR_OLD_TORCH = PackageSet(
    transformers="4.51.3",
    others=("tokenizers==0.21.4", "safetensors==0.5.3", "huggingface-hub==0.36.2"),
    size_mib=109,
    download_mib=14,
)
FOR_NEW_TORCH = PackageSet(
    transformers="4.57.6",
    others=("tokenizers==0.22.2", "safetensors==0.6.2", "huggingface-hub==0.36.2"),
    size_mib=122,
    download_mib=16,
)


def chosen(torch: str = "", transformers: str = "") -> PackageSet:
    """What suits this Python's torch and transformers (or those versions)."""
    has_old = version(torch or _installed("torch")) < (2, 4) or version(transformers or _installed("transformers")) < (
        4,
        31,
    )
    return FOR_OLD_TORCH if has_old else FOR_NEW_TORCH


def packages(root: Path) -> Path:
    """Their folder, whether it is there or not; another Python or another torch has another one."""
    return root / f"packages-{chosen().transformers}-py{sys.version_info.major}{sys.version_info.minor}"


def installed(root: Path) -> bool:
    """Whether all of them are there."""
    try:
        noted = json.loads((packages(root) / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(noted == list(chosen().pins))


def size(root: Path) -> int:
    """Bytes that they take on the disk; 0 when they are not there."""
    return sum(file.stat().st_size for file in packages(root).rglob("*") if file.is_file())


def remove(root: Path) -> None:
    """Delete them. Raises CaptionError."""
    try:
        if packages(root).exists():
            shutil.rmtree(packages(root))
    except OSError as error:
        raise CaptionError(
            f"{packages(root)} can't be deleted: {error.strerror or error}.", "Close the captioner, then again."
        ) from None


def install(
    root: Path, *, on_line: Callable[[str], None] = lambda line: None, should_stop: Callable[[], bool] = never
) -> Path:
    """Fetch them with pip into their folder, whole or not at all; nothing else of the environment is changed.

    `on_line` gets what pip says. Raises CaptionError, CaptioningStopped; then nothing of it is left.
    """
    target = packages(root)
    if installed(root):
        return target
    beside = root / f".{target.name}.{secrets.token_hex(4)}"
    try:
        beside.mkdir(parents=True)
        _run_pip(beside, on_line, should_stop)
        _check(beside, should_stop)
        (beside / MARK).write_text(json.dumps(chosen().pins), encoding="utf-8")
        remove(root)
        _rename(beside, target)
    except OSError as error:
        raise CaptionError(
            f"{root} can't be written: {error.strerror or error}.", "Free some space or change the folder."
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _run_pip(beside: Path, on_line: Callable[[str], None], should_stop: Callable[[], bool]) -> None:
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
        str(beside),
        "--no-input",
        "--disable-pip-version-check",
    ]
    child = Child([*_pip(), "install", *options, *chosen().pins], _environment(), merged=True)
    said = ""
    try:
        while (line := child.next_line(should_stop)) is not None:
            on_line(line)
            said = line if line.startswith("ERROR") else said
    finally:
        code = child.end(patience_s=5.0)
    if code:
        raise CaptionError(
            f"The sidecar's packages can't be installed: {said or f'pip ended with code {code}'}.",
            "Look at the connection, or at the proxy and index that pip uses. Nothing was changed.",
        )


def _check(beside: Path, should_stop: Callable[[], bool]) -> None:
    """They must go with the host's own packages. Raises CaptionError."""
    child = Child(python("distill.captions.sidecar.child", "{}", first=[beside]))
    try:
        line = child.next_line(should_stop, CHECK_S)
        if line is None:
            raise CaptionError(
                f"The sidecar's packages don't go with this WebUI's: {child.last_error()}",
                "Nothing was changed. Choose a captioner that needs no sidecar, or an endpoint.",
            )
    except TimeoutError:
        raise CaptionError("The sidecar's packages don't start.", "Nothing was changed.") from None
    finally:
        child.end()


def _pip() -> list[str]:
    """pip as a command; where it is not installed, the one that comes with Python, without installing it."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    bundled = importlib.util.find_spec("ensurepip")
    folder = Path(bundled.origin).parent / "_bundled" if bundled and bundled.origin else Path()
    wheels = sorted(folder.glob("pip-*.whl")) if folder.is_absolute() else []
    if not wheels:
        raise CaptionError("This Python has no pip.", f"Install it with: {sys.executable} -m ensurepip.")
    return [sys.executable, str(wheels[-1] / "pip")]


def _environment() -> dict[str, str]:
    """A person's index and proxy are used; what would send the packages elsewhere is not."""
    elsewhere = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_BINARY"}
    return {**{key: value for key, value in os.environ.items() if key not in elsewhere}, "PIP_USER": "0"}


def _rename(beside: Path, target: Path) -> None:
    for pause_s in (0.5, 1.0, 2.0):  # a virus scanner may hold new files open
        try:
            beside.rename(target)
        except PermissionError:
            time.sleep(pause_s)
        else:
            return
    beside.rename(target)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
