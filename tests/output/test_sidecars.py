"""What WebUIs show beside a LoRA, and the sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from distill.output import sidecars
from distill.output.sheet import sheet

RED, BLUE = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (600, 900), "blue")


def test_card_preview_and_source(tmp_path: Path) -> None:
    path = tmp_path / "fip.v2.safetensors"  # a name with a dot keeps it
    for weight in (0.5, 0.6):  # a card may be written again
        written = sidecars.write(
            path, activation_text="fip zor", preferred_weight=weight, source=RED, preview=BLUE, preview_prompt="a cat"
        )
    assert [p.name for p in written] == ["fip.v2.json", "fip.v2.png", "fip.v2.preview.png"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    card = json.loads(written[0].read_text("utf-8"))
    assert card == {
        "description": "",
        "sd version": "SD1",
        "activation text": "fip zor",
        "preferred weight": 0.6,
        "negative text": "",
        "notes": "",
    }
    with Image.open(written[1]) as source, Image.open(written[2]) as preview:
        assert source.size == (40, 20)
        assert preview.text["parameters"] == "a cat"


@pytest.mark.parametrize("old_pillow", [False, True])
def test_sheet(monkeypatch: pytest.MonkeyPatch, old_pillow: bool) -> None:
    if old_pillow:  # before 10.1 the default font had no size, and knew Latin-1 only
        bitmap = ImageFont.load_default_imagefont() if hasattr(ImageFont, "load_default_imagefont") else None
        old = bitmap or ImageFont.load_default()

        def load_default(*size: float) -> object:
            if size:
                raise TypeError("load_default() takes 0 positional arguments but 1 was given")
            return old

        monkeypatch.setattr(ImageFont, "load_default", load_default)
    rows = [[("source", RED), ("a label " * 20, BLUE)], [("日本 Zoë …", RED)]]
    page = sheet(rows, title="what it does", cell_px=100)
    assert page.width == 12 + 2 * 112
    assert page.height > 2 * 100
    assert page.getpixel((12 + 50, 12 + 19 + 12 + 50)) == (255, 0, 0)
    dark = [n for n, colour in page.getcolors(page.width * page.height) if sum(colour) < 150]
    assert sum(dark) > 50  # there are letters
    assert sheet([]).size[0] > 0
