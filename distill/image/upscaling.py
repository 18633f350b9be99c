"""Enlarges what has fewer pixels than it is trained at: by the host's upscalers, or a model file through spandrel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from distill.errors import DistillError, OptionError, PictureError
from distill.host import Upscaler
from distill.image import crops

if TYPE_CHECKING:
    import torch

Enlarge = Callable[[Image.Image, float], Image.Image]
"""A picture and how many times it is to be enlarged, to a picture of about that size, or a larger one."""

PLAIN = ("", "none", "lanczos")  # Lanczos is what every resizing here does
ENDINGS = (".safetensors", ".pth")
TILE_PX, OVERLAP_PX = 192, 16
LARGEST_SCALE = 16


def is_file(name: str) -> bool:
    """Whether the option `upscaler` means a model file, and no name."""
    return name.strip().lower().endswith(ENDINGS)


def check(name: str, own: Sequence[Upscaler]) -> None:
    """Raises OptionError when there is no such upscaler, or its file is not there."""
    enlarger(name, own)


def enlarger(name: str, own: Sequence[Upscaler]) -> Enlarge | None:
    """What the option `upscaler` means, `own` being the host's; None where plain resizing is meant.

    Loads nothing yet. Raises OptionError for an unknown one.
    """
    name = name.strip()
    if name.lower() in PLAIN:
        return None
    for upscaler in own:
        if upscaler.name.lower() == name.lower():
            return _guarded(upscaler.name, upscaler.upscale)
    if is_file(name):
        return _guarded(Path(name).name, _of_file(Path(name).expanduser()))
    known = ", ".join(("none", "lanczos", *(upscaler.name for upscaler in own)))
    raise OptionError(f"There is no upscaler {name!r}.", f"Choose {known}, or a .safetensors or .pth file.")


def fit(image: Image.Image, resolution_px: int, crop: str, enlarge: Enlarge | None) -> Image.Image:
    """As `crops.fit`; what the crop keeps is enlarged first where it has too few pixels."""
    size = crops.fit_size(image.width, image.height, resolution_px, crop)
    box = crops.crop_box(image.width, image.height, *size)
    scale = size[0] / (box[2] - box[0])
    if enlarge is None or scale <= 1:
        return crops.fit(image, resolution_px, crop)
    edges = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    large = enlarge(image.crop(edges), min(scale, LARGEST_SCALE))
    return large.resize(size, Image.Resampling.LANCZOS, box=crops.crop_box(large.width, large.height, *size))


def _guarded(name: str, enlarge: Enlarge) -> Enlarge:
    """`enlarge` with whatever it raises as PictureError."""

    def guarded(image: Image.Image, scale: float) -> Image.Image:
        try:
            large = enlarge(image, scale)
        except DistillError:
            raise
        except Exception as error:  # another's code, and memory may be short
            raise PictureError(f"The upscaler {name} failed: {_said(error)}.", _ANOTHER) from error
        return large.convert("RGB")

    return guarded


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


_ANOTHER = "Choose another upscaler, or none; nothing was started."


def _of_file(path: Path) -> Enlarge:
    if not path.is_file():
        raise OptionError(f"There is no upscaler file {path}.", "Check the path.")
    loaded: list[Any] = []

    def enlarge(image: Image.Image, scale: float) -> Image.Image:
        if not loaded:
            loaded.append(_load(path))
        return _by_model(loaded[0], image, scale)

    return enlarge


def _load(path: Path) -> Any:
    """spandrel's model descriptor, on the device. Raises PictureError."""
    import torch

    try:
        import spandrel
    except Exception as error:  # noqa: BLE001 - a torchvision that is not this torch's raises RuntimeError
        hint = "Install it (pip install spandrel), or choose another upscaler."
        raise PictureError(f"Upscaler files need the package spandrel ({_said(error)}).", hint) from None
    try:
        if path.suffix.lower() == ".pth":
            torch.load(path, map_location="cpu", weights_only=True)  # spandrel's own unpickler allows more
        model = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except Exception as error:  # as many kinds as there are architectures and damages
        raise PictureError(f"{path.name} is no upscaler that can be read safely ({_said(error)}).", _ANOTHER) from error
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.input_channels != 3 or model.output_channels != 3:
        raise PictureError(f"{path.name} is no model from picture to picture.", _ANOTHER)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _by_model(model: Any, image: Image.Image, scale: float) -> Image.Image:
    """As often as it takes; a model that keeps the size (a denoiser) is used once."""
    for _ in range(3):
        factor = int(model.scale)
        image = in_tiles(model, image, factor, model.device)
        scale /= factor
        if factor == 1 or scale <= 1:
            break
    return image


def in_tiles(
    model: Callable[[torch.Tensor], torch.Tensor], image: Image.Image, factor: int, device: Any = "cpu"
) -> Image.Image:
    """`model`: (1, 3, h, w) in [0, 1] to (1, 3, h * factor, w * factor). Memory is that of one tile."""
    import torch

    source = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
    large = np.empty((image.height * factor, image.width * factor, 3), np.uint8)
    with torch.inference_mode():
        for (left, upper, right, lower), inner in _tiles(image.width, image.height):
            tile = torch.from_numpy(np.ascontiguousarray(source[..., upper:lower, left:right])).to(device)
            made = (model(tile)[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            x, y, to_x, to_y = (edge * factor for edge in inner)
            dx, dy = left * factor, upper * factor
            large[y:to_y, x:to_x] = made[y - dy : to_y - dy, x - dx : to_x - dx]
    return Image.fromarray(large)


def _tiles(width: int, height: int) -> Iterator[tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """(what the model sees, what is kept of it) for each tile, as left, upper, right, lower."""
    for upper in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            right, lower = min(width, left + TILE_PX), min(height, upper + TILE_PX)
            seen = max(0, left - OVERLAP_PX), max(0, upper - OVERLAP_PX)
            yield (*seen, min(width, right + OVERLAP_PX), min(height, lower + OVERLAP_PX)), (left, upper, right, lower)
