"""Finds the subject with a model file of rembg, read by onnxruntime.

rembg itself is not needed: it fetches a model when it lacks one, which nobody was asked for, and its sessions are a
few lines each. Only a file that is there already is used. Preparation and answer are those of rembg 2.0's sessions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from distill.errors import PictureError

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Kind:
    """How a model wants its picture."""

    edge_px: int
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    logits: bool = False  # what it answers


KINDS = {
    "birefnet-general": Kind(1024, logits=True),
    "birefnet-portrait": Kind(1024, logits=True),
    "bria-rmbg": Kind(1024),
    "birefnet-general-lite": Kind(1024, logits=True),
    "isnet-general-use": Kind(1024, (0.5,) * 3, (1.0,) * 3),
    "u2net": Kind(320),
    "u2net_human_seg": Kind(320),
    "silueta": Kind(320),
    "isnet-anime": Kind(1024, std=(1.0,) * 3),
    "u2netp": Kind(320),
}
"""By name of the file; the first one that is there is taken."""

_OTHERWISE = "or draw the mask."


def files() -> Iterator[Path]:
    """The model files that are there, the best first, in the folders where rembg and WebUI extensions keep them."""
    home = Path.home()
    named = [os.environ.get("U2NET_HOME"), os.environ.get("REMBG_HOME")]
    data = os.environ.get("XDG_DATA_HOME")
    named += [f"{data}/rembg", f"{data}/.u2net"] if data else []
    folders = [*(Path(name).expanduser() for name in named if name), home / ".rembg", home / ".u2net"]
    for kind in KINDS:
        places = [place for folder in folders for place in (folder / "models" / kind, folder)]
        yield from (place / f"{kind}.onnx" for place in places if (place / f"{kind}.onnx").is_file())


def remove(image: Image.Image) -> tuple[Image.Image, str]:
    """The soft mask (L, of the picture's size) and the model's name; nothing is fetched. Raises PictureError."""
    if find_spec("onnxruntime") is None:
        raise PictureError(
            "The background remover needs the package onnxruntime, and this Python has none.",
            f"An extension with rembg brings it; {_OTHERWISE}",
        )
    file = next(files(), None)
    if file is None:
        folder = os.environ.get("U2NET_HOME") or Path.home() / ".u2net"
        raise PictureError(
            "There is no model file of rembg on this machine, and none is fetched.",
            f"Put u2net.onnx, from rembg's releases on GitHub, into {folder}, {_OTHERWISE}",
        )
    try:
        return _mask(file, image), file.stem
    except Exception as error:  # onnxruntime's errors have no public base but Exception
        said = " ".join(str(error).split())[:200]
        raise PictureError(
            f"The model file {file} can't be used: {said}", f"Delete it and get it again, {_OTHERWISE}"
        ) from error


def _mask(file: Path, image: Image.Image) -> Image.Image:
    import onnxruntime

    kind = KINDS[file.stem]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # its warnings would go to the WebUI's console
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])  # once, so no GPU
    small = image.convert("RGB").resize((kind.edge_px, kind.edge_px), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, dtype=np.float64)
    pixels = (pixels / max(float(pixels.max()), 1e-6) - kind.mean) / kind.std
    taken = session.get_inputs()[0].name
    found = session.run(None, {taken: pixels.transpose(2, 0, 1)[None].astype(np.float32)})[0][0, 0]  # (h, w)
    if kind.logits:
        found = 1 / (1 + np.exp(-found))
    lowest, highest = float(found.min()), float(found.max())
    found = (found - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(found)
    mask = Image.fromarray((found.clip(0, 1) * 255).astype(np.uint8))
    return mask.resize(image.size, Image.Resampling.LANCZOS)
