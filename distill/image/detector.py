"""Finds a face by the cascades that packages beside us ship; nothing is fetched, and none of them is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from distill.plan import Box

LONG_EDGE_PX = 1024  # more shows no further face and takes longer
SMALLEST = 1 / 16  # of the picture's shorter edge: a smaller face is not the subject's
AGREEING = 5  # windows that have to find the same face
LBP_TO_HAAR = 0.9  # LBP's square is a little larger around the same face

Square = tuple[float, float, float]  # left, upper, edge
Grey = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Face:
    """The largest face: a square from the brows to the chin, in shares of the picture; who found it, and how many."""

    box: Box
    by: str
    count: int = 1


def find_face(image: Image.Image) -> tuple[Face | None, str]:
    """The face and "", or None and why: no package that can look, or none of them saw one."""
    scale = min(1.0, LONG_EDGE_PX / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    grey = np.asarray(image.convert("L").resize(size))
    detectors = {name: find for name, make in _MAKERS.items() if (find := make()) is not None}
    for name, find in detectors.items():
        squares = sorted(find(grey), key=lambda square: square[2])
        if squares:
            left, upper, edge = squares[-1]
            right, lower = left + edge, upper + edge
            box = (left / size[0], upper / size[1], right / size[0], lower / size[1])
            return Face(box, name, len(squares)), ""
    if not detectors:
        return None, "no face detector is installed (opencv-python below 5, or scikit-image)"
    return None, f"{' and '.join(detectors)} found no face"


@lru_cache(maxsize=1)
def _opencv() -> Callable[[Grey], list[Square]] | None:
    """Haar cascades (Viola and Jones 2001), which OpenCV shipped until version 5."""
    try:
        import cv2

        file = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
        cascade = cv2.CascadeClassifier(str(file))
        if cascade.empty():
            return None
    except (ImportError, AttributeError):  # version 5 has neither the class nor the files
        return None

    def find(grey: Grey) -> list[Square]:
        smallest = _smallest(grey)
        found = cascade.detectMultiScale(
            cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=AGREEING, minSize=(smallest, smallest)
        )
        return [(float(x), float(y), float(width)) for x, y, width, _ in found]

    return find


@lru_cache(maxsize=1)
def _scikit_image() -> Callable[[Grey], list[Square]] | None:
    """OpenCV's LBP cascade (Liao et al. 2007), which scikit-image ships; its file, as its loader might download."""
    try:
        import skimage
        from skimage.feature import Cascade

        file = Path(skimage.__file__).parent / "data" / "lbpcascade_frontalface_opencv.xml"
        if not file.is_file():
            return None
        cascade: Any = Cascade(str(file))
    except (ImportError, AttributeError, OSError, ValueError):
        return None

    def find(grey: Grey) -> list[Square]:
        smallest, largest = _smallest(grey), min(grey.shape)
        found = cascade.detect_multi_scale(
            img=grey,
            scale_factor=1.2,
            step_ratio=1.3,
            min_size=(smallest, smallest),
            max_size=(largest, largest),
            min_neighbor_number=AGREEING,
        )
        return [_as_haar(entry["c"], entry["r"], entry["width"]) for entry in found]

    return find


def _as_haar(left: float, upper: float, edge: float) -> Square:
    margin = edge * (1 - LBP_TO_HAAR) / 2
    return left + margin, upper + margin, edge * LBP_TO_HAAR


def _smallest(grey: Grey) -> int:
    return max(24, round(min(grey.shape) * SMALLEST))


_MAKERS = {"OpenCV": _opencv, "scikit-image": _scikit_image}
