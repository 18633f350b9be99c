"""The files beside a LoRA that WebUIs show: card, preview and the source picture.

A1111 and Forge look for `<name>.png` before `<name>.preview.png` (`find_preview` in ui_extra_networks.py): the card
shows the source. Tools that know only `.preview.png` show the sample.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from distill.output import atomic

PREVIEW = ".preview.png"
ENDINGS = (".safetensors", ".json", ".png", PREVIEW)
"""Of a LoRA and all that may lie beside it."""


def write(
    lora_path: Path,
    *,
    activation_text: str,
    preferred_weight: float = 0.6,
    source: Image.Image | None = None,
    preview: Image.Image | None = None,
    preview_prompt: str = "",
    description: str = "",
    negative_text: str = "",
    notes: str = "",
) -> list[Path]:
    """Write card, source and preview beside `lora_path`; returns what was written. Raises OutputError."""
    about = card(
        activation_text=activation_text,
        preferred_weight=preferred_weight,
        description=description,
        negative_text=negative_text,
        notes=notes,
    )
    files = {".json": about}
    if source is not None:
        files[".png"] = png(source)
    if preview is not None:
        files[PREVIEW] = png(preview, preview_prompt)
    paths = []
    for ending, data in files.items():
        paths.append(lora_path.with_name(lora_path.stem + ending))
        atomic.write(paths[-1], data, replace=True)  # a card may be written again, unlike the weights
    return paths


def write_preview(lora_path: Path, preview: Image.Image, prompt: str) -> Path:
    """Write only the preview of `lora_path`; returns its path. Raises OutputError."""
    path = preview_of(lora_path)
    atomic.write(path, png(preview, prompt), replace=True)
    return path


def preview_of(lora_path: Path) -> Path:
    """Where the preview of `lora_path` is, if there is one."""
    return lora_path.with_name(lora_path.stem + PREVIEW)


def card(
    *, activation_text: str, preferred_weight: float, description: str = "", negative_text: str = "", notes: str = ""
) -> bytes:
    """The JSON that A1111's and Forge's LoRA cards are edited into."""
    values = {
        "description": description,
        "sd version": "SD1",
        "activation text": activation_text,
        "preferred weight": preferred_weight,
        "negative text": negative_text,
        "notes": notes,
    }
    return json.dumps(values, indent=4, ensure_ascii=False).encode()


def png(image: Image.Image, parameters: str = "") -> bytes:
    """`image` as PNG; `parameters` are kept where WebUIs look for a picture's prompt."""
    info, out = PngInfo(), io.BytesIO()
    if parameters:
        info.add_text("parameters", parameters)
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()
