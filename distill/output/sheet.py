"""One labelled sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

MARGIN_PX = 12
INK, PAPER = (32, 32, 32), (250, 250, 248)
Cell = tuple[str, Image.Image]  # label, picture


def sheet(rows: Sequence[Sequence[Cell]], *, title: str = "", cell_px: int = 256, text_px: int = 15) -> Image.Image:
    """Rows of (label, picture) cells on one page; each picture fits `cell_px`, its label stands below, wrapped."""
    font, line = _font(text_px), text_px + 4
    wrapped = [[(_wrap(label, font, cell_px), picture) for label, picture in row] for row in rows]
    depths = [max((len(lines) for lines, _ in row), default=0) * line + MARGIN_PX for row in wrapped]
    columns = max((len(row) for row in rows), default=1)
    top = MARGIN_PX + (line + MARGIN_PX if title else 0)
    width = MARGIN_PX + columns * (cell_px + MARGIN_PX)
    page = Image.new("RGB", (width, top + sum(cell_px + depth for depth in depths) + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((MARGIN_PX, MARGIN_PX), _wrap(title, font, width - 2 * MARGIN_PX)[0], INK, font=font)
    for row, depth in zip(wrapped, depths, strict=True):
        for i, (lines, picture) in enumerate(row):
            left = MARGIN_PX + i * (cell_px + MARGIN_PX)
            page.paste(_fitted(picture, cell_px), (left, top))
            for n, text in enumerate(lines):
                draw.text((left, top + cell_px + 4 + n * line), text, INK, font=font)
        top += cell_px + depth
    return page


def _fitted(picture: Image.Image, edge_px: int) -> Image.Image:
    """`picture` in the middle of a square, shrunk or enlarged to fit."""
    scale = edge_px / max(picture.size)
    width, height = (max(1, round(n * scale)) for n in picture.size)
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    square = Image.new("RGB", (edge_px, edge_px), PAPER)
    small = picture.convert("RGB").resize((width, height), how)
    square.paste(small, ((edge_px - width) // 2, (edge_px - height) // 2))
    return square


def _wrap(text: str, font: Any, width_px: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_cut(line, font, width_px) for line in lines]


def _cut(line: str, font: Any, width_px: int) -> str:
    while len(line) > 1 and font.getlength(line) > width_px:
        line = line[:-2] + "…" if line.endswith("…") else line[:-1] + "…"
    return line


def _font(size_px: int) -> Any:
    try:
        return ImageFont.load_default(size_px)
    except (TypeError, ImportError):  # Pillow < 10.1, or one without FreeType: one small bitmap font
        return _Latin(ImageFont.load_default())


class _Latin:
    """The old bitmap font, which knows Latin-1 only; other letters become question marks instead of an error."""

    def __init__(self, font: Any) -> None:
        self._font = font

    def getlength(self, text: str) -> float:
        return float(self._font.getlength(_latin(text)))

    def getmask(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return self._font.getmask(_latin(text), *args, **kwargs)

    def getbbox(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return self._font.getbbox(_latin(text), *args, **kwargs)


def _latin(text: str) -> str:
    return text.replace("…", "~").encode("latin-1", "replace").decode("latin-1")
