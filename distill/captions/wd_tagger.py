"""SmilingWolf's WD taggers v3: Danbooru's tags with a probability each, made on drawings, weaker on photographs.

A folder as on the hub: config.json, selected_tags.csv, and model.safetensors (read with timm) or model.onnx (with
onnxruntime). Pictures are prepared as in the model cards' own code (neggles/wdv3-timm; the wd-tagger space).
"""

from __future__ import annotations

import csv
import gc
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from distill.captions import words
from distill.captions.captioner import CaptioningStopped, Closing, never
from distill.errors import CaptionError

if TYPE_CHECKING:
    import numpy as np

GENERAL, CHARACTER = "0", "4"  # categories in selected_tags.csv; 9 is the rating, which is no caption
THRESHOLDS = {GENERAL: 0.35, CHARACTER: 0.85}
EDGE_PX = 448
RUNTIMES = {"timm": "model.safetensors", "onnxruntime": "model.onnx"}  # the first that is there is taken

_COUNT = re.compile(r"\d\+?(?:girl|boy|other)s?|multiple_(?:girls|boys|others)")
_AGAIN = "Get the folder again: config.json, selected_tags.csv, and model.safetensors or model.onnx."


@dataclass(frozen=True)
class Label:
    """One output of the model."""

    name: str  # with underscores, as Danbooru writes it
    category: str


class WdTagger(Closing):
    """A tagger that lists what it sees: count of people first, then the general tags by falling probability."""

    def __init__(self, folder: Path, *, name: str = "", device: Any = "cpu", characters: bool = False) -> None:
        """`characters`: also name known figures. Raises CaptionError."""
        self.name = name or folder.name
        self._labels = read_labels(folder)
        self._shown = (GENERAL, CHARACTER) if characters else (GENERAL,)
        self._probabilities: Callable[[Image.Image], np.ndarray] | None = _open(folder, str(device))

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """A comma list. Raises CaptionError once it is closed or where the files don't fit, CaptioningStopped."""
        if self._probabilities is None:
            raise CaptionError("The captioner was closed.", "Open it again.")
        if should_stop():
            raise CaptioningStopped
        probabilities = self._probabilities(image)
        if should_stop():
            raise CaptioningStopped
        if len(probabilities) != len(self._labels):
            raise CaptionError(
                f"{self.name} gives {len(probabilities)} values for the {len(self._labels)} tags of its list.", _AGAIN
            )
        return ", ".join(chosen(self._labels, probabilities, self._shown))

    def close(self) -> None:
        """Let go of the weights."""
        self._probabilities = None
        gc.collect()
        _empty_cache()


def problem(folder: Path | None = None) -> str:
    """Why it can't run here, or with the weights in that folder; "" when it can. Loads nothing."""
    there = [runtime for runtime in RUNTIMES if find_spec(runtime) is not None]
    if not there:
        return "WD taggers need the package timm or onnxruntime, and this Python has neither."
    if folder is not None and not any((folder / RUNTIMES[runtime]).is_file() for runtime in there):
        return f"{folder} has no {' or '.join(RUNTIMES[runtime] for runtime in there)}, which {there[0]} could read."
    return ""


def chosen(labels: Sequence[Label], probabilities: Sequence[float] | np.ndarray, shown: Sequence[str]) -> list[str]:
    """The names over their category's threshold: counts, then the others, each by falling probability."""
    seen = [
        (float(probability), label.name)
        for label, probability in zip(labels, probabilities)
        if label.category in shown and probability > THRESHOLDS[label.category]
    ]
    seen.sort(key=lambda pair: (_COUNT.fullmatch(pair[1]) is None, -pair[0]))
    return [name if name in words.KAOMOJI else name.replace("_", " ") for _, name in seen]


def read_labels(folder: Path) -> list[Label]:
    """The model's outputs in order, from selected_tags.csv. Raises CaptionError."""
    file = folder / "selected_tags.csv"
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            labels = [Label(row["name"], row["category"]) for row in csv.DictReader(lines)]
    except FileNotFoundError:
        raise CaptionError(f"{folder} has no selected_tags.csv, so it is no WD tagger.", _AGAIN) from None
    except (OSError, UnicodeDecodeError, KeyError, csv.Error):
        labels = []
    if not labels or any(label.name is None or label.category is None for label in labels):
        raise CaptionError(f"{file} can't be read as a list of tags.", _AGAIN)
    return labels


def square(image: Image.Image, edge_px: int) -> Image.Image:
    """The whole picture in the middle of a white square, bicubic."""
    edge = max(image.size)
    canvas = Image.new("RGB", (edge, edge), "white")
    canvas.paste(image.convert("RGB"), ((edge - image.width) // 2, (edge - image.height) // 2))
    return canvas.resize((edge_px, edge_px), Image.Resampling.BICUBIC)


def _open(folder: Path, device: str) -> Callable[[Image.Image], np.ndarray]:
    """A function from a picture to the probability of each label, by the first way that works here."""
    said = problem(folder)
    if said:
        raise CaptionError(said, _AGAIN if find_spec("timm") or find_spec("onnxruntime") else "Choose another one.")
    for runtime, opened in (("timm", _with_timm), ("onnxruntime", _with_onnx)):
        if find_spec(runtime) is None or not (folder / RUNTIMES[runtime]).is_file():
            continue
        try:
            return opened(folder, device)
        except (ImportError, AttributeError, RuntimeError) as error:  # torchvision is of another build, say
            said = f"{runtime} can't be used here: {' '.join(str(error).split())[:200]}"
    raise CaptionError(said, "Choose another captioner.")


def _with_timm(folder: Path, device: str) -> Callable[[Image.Image], np.ndarray]:
    import timm
    import torch

    config = _config(folder)
    pretrained = config.get("pretrained_cfg") or {}
    edge = int((pretrained.get("input_size") or (3, EDGE_PX, EDGE_PX))[-1])
    mean, std = (torch.tensor(pretrained.get(name) or (0.5,) * 3).view(3, 1, 1) for name in ("mean", "std"))
    try:
        model = timm.create_model(
            config["architecture"],
            pretrained=False,
            num_classes=int(config["num_classes"]),
            **(config.get("model_args") or {}),
        )
        model.load_state_dict(_weights(folder / RUNTIMES["timm"]))
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise CaptionError(f"The tagger in {folder} can't be loaded: {said}", _AGAIN) from None
    model = model.float().eval().requires_grad_(False).to(device)

    def probabilities(image: Image.Image) -> np.ndarray:
        levels = torch.frombuffer(bytearray(square(image, edge).tobytes()), dtype=torch.uint8).view(edge, edge, 3)
        values = (levels.permute(2, 0, 1).float() / 255 - mean) / std
        with torch.inference_mode():
            logits = model(values.flip(0)[None].to(device))[0]  # BGR, as it was trained with OpenCV
            found: np.ndarray = logits.sigmoid().cpu().numpy()
        return found

    return probabilities


def _with_onnx(folder: Path, device: str) -> Callable[[Image.Image], np.ndarray]:
    import numpy as np
    import onnxruntime

    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    there = onnxruntime.get_available_providers()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # its warnings would go to the WebUI's console
    try:
        session = onnxruntime.InferenceSession(
            str(folder / RUNTIMES["onnxruntime"]),
            settings,
            providers=[*(name for name in wanted if name in there), "CPUExecutionProvider"],
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no public base but Exception
        said = " ".join(str(error).split())[:200]
        raise CaptionError(f"The tagger in {folder} can't be loaded: {said}", _AGAIN) from None
    taken = session.get_inputs()[0]  # (N, h, w, 3)
    edge = taken.shape[1] if isinstance(taken.shape[1], int) else EDGE_PX

    def probabilities(image: Image.Image) -> np.ndarray:
        levels = np.asarray(square(image, edge), dtype=np.float32)[None, :, :, ::-1]  # BGR, 0 to 255
        found: np.ndarray = session.run(None, {taken.name: np.ascontiguousarray(levels)})[0][0]
        return found  # the sigmoid is in the file

    return probabilities


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaptionError(f"{folder} has no config.json.", _AGAIN) from None
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict) or "architecture" not in config:
        raise CaptionError(f"{folder / 'config.json'} is no config of a timm model.", _AGAIN)
    return config


def _weights(file: Path) -> dict[str, Any]:
    """Read with `safe_open`: Forge's own `load_file` renames a file that it can't read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), "pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CaptionError(f"{file} is damaged: {error}", _AGAIN) from None


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
