"""The WebUI's own upscalers, as its "Extras" and hires. fix use them.

Read in A1111 1.10.1, Forge, reForge and the one for AMD: `modules/upscaler.py`, `modules/modelloader.py`,
`modules/esrgan_model.py` and its siblings, `extensions-builtin/{ScuNET,SwinIR,LDSR}`. They are listed from the start
(`shared.sd_upscalers`), and some fetch their model when they are used first. One that can't load its model says so
on the console and gives the picture back, which the WebUI then enlarges plainly; here that is an error.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import PictureError
from distill.host import Upscaler
from distill.hosts.webui import module

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

BUILT_IN = ("none", "lanczos", "nearest")  # no models: Lanczos is what we do anyway
FETCHES = "its model is downloaded at its first use"


def upscalers() -> tuple[Upscaler, ...]:
    """Those that this WebUI has; looks for files, loads nothing, never raises."""
    try:
        listed = getattr(module("modules.shared"), "sd_upscalers", None) or ()
        return tuple(_upscaler(data) for data in listed if str(data.name).lower() not in BUILT_IN)
    except Exception:  # another's code, which may be patched by any extension
        log.warning("The WebUI's own upscalers could not be looked at.", exc_info=True)
        return ()


def _upscaler(data: Any) -> Upscaler:
    label = f"{data.name} ({FETCHES})" if _fetches(data) else str(data.name)
    return Upscaler(name=str(data.name), label=label, upscale=_using(data))


def _fetches(data: Any) -> bool:
    """Whether using it would download: its path is an address, or it knows one and its folder is empty."""
    path = getattr(data, "local_data_path", None) or data.data_path
    if path:
        return str(path).startswith("http")
    folder = getattr(data.scaler, "model_path", None)
    known = getattr(data.scaler, "model_url", None)
    return bool(known) and not (folder and Path(folder).is_dir() and any(Path(folder).iterdir()))


def _using(data: Any) -> Callable[[Image.Image, float], Image.Image]:
    def upscale(image: Image.Image, scale: float) -> Image.Image:
        from PIL import Image as images

        trouble = ""
        try:
            # It rounds down to whole 8 px, and must not come out smaller than asked for.
            asked = max(scale * (edge + 8) / edge for edge in image.size)
            with _as_it_was(data.scaler):
                large: Image.Image = data.scaler.upscale(image, asked, data.data_path)
            plain = image.resize(large.size, images.Resampling.LANCZOS)
            if large.tobytes() == plain.tobytes() and not _interrupted():
                trouble = "it could not load its model; the WebUI's console says why"
        except Exception as error:
            log.warning("The WebUI's upscaler %s failed.", data.name, exc_info=True)
            trouble = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        _tidy()  # not in the `except`, whose error holds the frames and with them the model
        if trouble:
            raise PictureError(
                f"The WebUI's upscaler {data.name} failed: {trouble}.",
                "Choose another upscaler, or none; nothing was started.",
            )
        return large

    return upscale


@contextmanager
def _as_it_was(scaler: Any) -> Iterator[None]:
    """Some keep their last model and its scale."""
    before = dict(vars(scaler))
    try:
        yield
    finally:
        vars(scaler).clear()
        vars(scaler).update(before)


def _interrupted() -> bool:
    return bool(module("modules.shared").state.interrupted)


def _tidy() -> None:
    """The memory of its model: nobody holds it any more."""
    gc.collect()
    devices = module("modules.devices")
    if devices is not None and hasattr(devices, "torch_gc"):
        devices.torch_gc()
