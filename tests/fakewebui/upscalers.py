"""Fakes of `modules/upscaler.py`, `esrgan_model.py` and `realesrgan_model.py`, with a tiny model read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image


class Upscaler:
    """A1111's base class, its loop as it is."""

    model_path: Any = None
    model_url: Any = None
    scale: float = 1

    def __init__(self, webui: Any) -> None:
        self._webui = webui

    def upscale(self, img: Image.Image, scale: float, selected_model: str | None = None) -> Image.Image:
        assert self._webui.queue_lock.locked(), "used without our turn"
        self.scale = scale
        dest_w, dest_h = int((img.width * scale) // 8 * 8), int((img.height * scale) // 8 * 8)
        for i in range(3):
            if img.width >= dest_w and img.height >= dest_h and (i > 0 or scale != 1):
                break
            if self._webui.state.interrupted:
                break
            shape = (img.width, img.height)
            img = self.do_upscale(img, selected_model)
            if shape == (img.width, img.height):
                break
        if img.width != dest_w or img.height != dest_h:
            img = img.resize((dest_w, dest_h), resample=Image.Resampling.LANCZOS)
        return img

    def do_upscale(self, img: Image.Image, selected_model: Any) -> Image.Image:
        return img


class Lanczos(Upscaler):
    def do_upscale(self, img: Image.Image, selected_model: Any) -> Image.Image:
        return img.resize((int(img.width * self.scale), int(img.height * self.scale)), Image.Resampling.LANCZOS)


class ESRGAN(Upscaler):
    """Four times larger, and as much brighter as its file says; keeps its model, as SwinIR's does."""

    model_url = "https://esrgan"
    downloads: ClassVar[list[str]] = []

    def __init__(self, webui: Any) -> None:
        super().__init__(webui)
        self.model_path = str(webui.models_path / "ESRGAN")
        self._cached_model: Any = None

    def do_upscale(self, img: Image.Image, selected_model: Any) -> Image.Image:
        try:
            if str(selected_model).startswith("http"):
                self.downloads.append(selected_model)
                raise OSError("no network")
            self._cached_model = torch.load(selected_model, weights_only=True)
        except Exception:  # noqa: BLE001 - as it does
            return img
        large = img.resize((img.width * 4, img.height * 4), Image.Resampling.NEAREST)
        return large.point([min(255, level + int(self._cached_model["brighter"])) for level in range(256)] * 3)


class Data:
    """`UpscalerData`."""

    def __init__(self, name: str, path: Any, scaler: Upscaler) -> None:
        self.name, self.data_path, self.local_data_path, self.scaler = name, path, path, scaler


def put_model(models: Path, name: str = "4x_bright.pth", brighter: int = 40) -> Path:
    """An upscaler's file where the WebUI looks for it."""
    (models / "ESRGAN").mkdir(parents=True, exist_ok=True)
    torch.save({"brighter": torch.tensor(brighter)}, models / "ESRGAN" / name)
    return models / "ESRGAN" / name


def listed(webui: Any) -> list[Data]:
    """`shared.sd_upscalers` as it is after the start."""
    esrgan, bright = ESRGAN(webui), webui.models_path / "ESRGAN" / "4x_bright.pth"
    return [
        Data("None", None, Upscaler(webui)),
        Data("Lanczos", None, Lanczos(webui)),
        Data("4x_bright", str(bright), esrgan),
        Data("R-ESRGAN 4x+", "https://esrgan/4x+.pth", esrgan),
        Data("LDSR", None, ESRGAN(webui)),
    ]
