"""The LoRAs that Distill made: list them, and put one into the trash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from distill.errors import OutputError
from distill.output.sidecars import ENDINGS, preview_of

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, kw_only=True)
class MadeLora:
    """One training's LoRA with its epochs."""

    name: str
    files: tuple[Path, ...]  # of the LoRA and its epochs, the final one last
    tags: tuple[str, ...]
    preferred_weight: float
    made_at: str  # ISO 8601

    @property
    def path(self) -> Path:
        """The final file, or the last epoch of one that was cut off."""
        return self.files[-1]

    @property
    def epochs(self) -> tuple[str, ...]:
        """Names of the epochs' files, without ending."""
        return tuple(path.stem for path in self.files if path.stem != self.name)

    @property
    def prompt(self) -> str:
        """What calls it."""
        return ", ".join((*self.tags, f"<lora:{self.path.stem}:{self.preferred_weight:g}>"))

    @property
    def size_bytes(self) -> int:
        """Of all its LoRA files."""
        return sum(path.stat().st_size for path in self.files if path.is_file())

    @property
    def preview(self) -> Path | None:
        """The picture made with it."""
        path = preview_of(self.path)
        return path if path.is_file() else None


def listed(lora_dir: Path) -> tuple[MadeLora, ...]:
    """All LoRAs in the folder, or below it, that Distill made; newest first."""
    trainings: dict[tuple[Path, str], list[tuple[Path, dict[str, str]]]] = {}
    for path in sorted(lora_dir.rglob("*.safetensors")):
        if any(part.startswith(".") for part in path.relative_to(lora_dir).parts):
            continue  # our own folder, with the trash in it, may lie below
        about = header(path)
        if "distill_version" in about:
            trainings.setdefault((path.parent, _name(path, about)), []).append((path, about))
    found = (_made(name, files) for (_, name), files in trainings.items())
    return tuple(sorted(found, key=lambda made: made.made_at, reverse=True))


def delete(lora_dir: Path, name: str, trash: Path) -> Path:
    """Move a LoRA with its epochs, cards and pictures into a new folder in `trash`, which is returned.

    Raises OutputError when Distill made none of that name, or when not all can be moved.
    """
    made = next((made for made in listed(lora_dir) if made.name == name), None)
    if made is None:
        raise OutputError(f"There is no LoRA {name[:100]!r} that Distill made.", "Read the list anew.")
    folder = _new_folder(trash, name)
    for path in _all_files(made):
        try:
            shutil.move(path, folder / path.name)
        except OSError as error:
            said = error.strerror or str(error)
            raise OutputError(
                f"{path.name} can't be moved to the trash: {said}.", "Close what uses it and try again."
            ) from error
    return folder


def header(path: Path) -> dict[str, str]:
    """A safetensors file's metadata; empty where there is none or the file is damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER_BYTES:
                return {}
            metadata = json.loads(file.read(length)).get("__metadata__", {})
    except (OSError, ValueError, AttributeError, RecursionError, MemoryError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _name(path: Path, about: dict[str, str]) -> str:
    """The training's name: the file's own, less the number of an epoch that was not the last."""
    epoch = f"-{_number(about.get('ss_epoch')):06d}"
    is_last = _number(about.get("ss_steps")) >= _number(about.get("ss_max_train_steps"))
    return path.stem if is_last else path.stem.removesuffix(epoch)


def _made(name: str, files: list[tuple[Path, dict[str, str]]]) -> MadeLora:
    files = sorted(files, key=lambda file: (file[0].stem == name, file[0].stem))
    path, about = files[-1]
    return MadeLora(
        name=name,
        files=tuple(path for path, _ in files),
        tags=_tags(path, about),
        preferred_weight=_weight(path, about),
        made_at=about.get("modelspec.date") or _written_at(path),
    )


def _tags(path: Path, about: dict[str, str]) -> tuple[str, ...]:
    """As the card has them, else as they were trained."""
    text = _card(path).get("activation text")
    if isinstance(text, str) and text.strip():
        return tuple(tag.strip() for tag in text.split(",") if tag.strip())
    frequency = _parsed(about.get("ss_tag_frequency"))
    counted: Any = next(iter(frequency.values()), {}) if isinstance(frequency, dict) else {}
    return tuple(counted) if isinstance(counted, dict) else ()


def _weight(path: Path, about: dict[str, str]) -> float:
    options = _parsed(about.get("distill_options"))
    known = options.get("preferred_weight") if isinstance(options, dict) else None
    for weight in (_card(path).get("preferred weight"), known):
        if isinstance(weight, int | float) and weight:
            return float(weight)
    return 1.0


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, TypeError, RecursionError):
        return None


def _number(value: Any) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else 0


def _written_at(path: Path) -> str:
    try:
        seconds = path.stat().st_mtime
    except OSError:
        seconds = 0.0
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _all_files(made: MadeLora) -> Iterator[Path]:
    for lora in made.files:
        for path in (lora.with_name(lora.stem + ending) for ending in ENDINGS):
            if path.is_file():
                yield path


def _new_folder(trash: Path, name: str) -> Path:
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    for n in range(1, 100):
        folder = trash / f"{stamp}-{n:02d}-{name}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"The trash can't be written: {error.strerror}.", "Nothing was moved.") from error
    raise OutputError("The trash has no room for one more.", "Empty it and try again.")
