"""The WebUI's own upscalers: listed without loading, used in our turn, left as they were, their failures told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distill.errors import OptionError, PictureError
from distill.hosts.detect import detect
from distill.hosts.standalone import Standalone
from distill.image.upscaling import check, enlarger
from distill.options import Options
from distill.pipeline import distill
from tests.fakewebui.upscalers import ESRGAN, put_model

GREY = Image.new("RGB", (48, 40), (100, 100, 100))


def own() -> dict[str, Any]:
    return {upscaler.name: upscaler for upscaler in detect().upscalers()}


def use(name: str, scale: float = 2.0) -> Image.Image:
    with detect().turn("distill-1", "Distill"):
        return own()[name].upscale(GREY, scale)


def test_they_are_listed_without_loading_or_downloading(webui: Any) -> None:
    ESRGAN.downloads.clear()
    assert list(own()) == ["4x_bright", "R-ESRGAN 4x+", "LDSR"]
    assert "downloaded at its first use" in own()["R-ESRGAN 4x+"].label
    assert "downloaded" in own()["LDSR"].label
    assert own()["4x_bright"].label == "4x_bright"
    assert ESRGAN.downloads == []
    assert Standalone(Path("x"), lora_dir=Path("y")).upscalers() == ()


def test_used_in_our_turn_and_left_as_it_was(webui: Any) -> None:
    put_model(webui.models_path)
    scaler = sys.modules["modules.shared"].sd_upscalers[2].scaler
    before = dict(vars(scaler))
    large = use("4x_bright", 3.0)
    assert large.width >= 144
    assert large.height >= 120
    assert large.getpixel((5, 5)) == (140, 140, 140)
    assert vars(scaler) == before


def test_a_model_that_can_not_be_loaded_is_told(webui: Any) -> None:
    for name in ("4x_bright", "R-ESRGAN 4x+"):
        with pytest.raises(PictureError, match="could not load its model"):
            use(name)
    del sys.modules["modules.shared"].sd_upscalers[2].scaler._webui
    with pytest.raises(PictureError, match="The WebUI's upscaler 4x_bright failed: 'ESRGAN' object has no"):
        use("4x_bright")


def test_names_are_found_whatever_their_case(webui: Any) -> None:
    check("r-esrgan 4X+", detect().upscalers())
    with pytest.raises(OptionError, match=r"no upscaler '5x'.*none, lanczos, 4x_bright, R-ESRGAN 4x\+, LDSR"):
        check("5x", detect().upscalers())
    assert enlarger("Lanczos", detect().upscalers()) is None


def test_a_broken_list_is_no_list(webui: Any) -> None:
    sys.modules["modules.shared"].sd_upscalers = [object()]
    assert detect().upscalers() == ()


@pytest.mark.slow
def test_a_training_uses_it_before_the_model_is_borrowed(webui: Any) -> None:
    put_model(webui.models_path)
    options = Options.from_flat({"upscaler": "4x_bright", "trigger": "fip zor", "resolution": 64})
    host = detect()
    with host.turn("distill-1", ""):
        prepared = next(distill(host, GREY, ["woman"], options))
    assert prepared.image.getpixel((9, 9)) == (140, 140, 140)
    assert "What has too few pixels is enlarged by 4x_bright first." in prepared.notes
