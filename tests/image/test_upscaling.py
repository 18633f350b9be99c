"""Enlarging by model files: in tiles that leave no seam, read safely, and every failure told."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from distill.errors import OptionError, PictureError
from distill.host import Upscaler
from distill.image import upscaling
from distill.image.upscaling import check, enlarger, fit, in_tiles


def smooth(tile: torch.Tensor) -> torch.Tensor:
    """Sees a few pixels around each, as an upscaler does."""
    return F.interpolate(F.avg_pool2d(F.pad(tile, (2, 2, 2, 2), mode="reflect"), 5, 1), scale_factor=2)


def test_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.effect_noise((150, 110), 90).convert("RGB")
    at_once = np.asarray(in_tiles(smooth, picture, 2), int)
    monkeypatch.setattr(upscaling, "TILE_PX", 40)
    seen: list[tuple[int, ...]] = []

    def watched(tile: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(tile.shape))
        return smooth(tile)

    in_parts = np.asarray(in_tiles(watched, picture, 2), int)
    assert at_once.shape == (220, 300, 3)
    assert abs(at_once - in_parts).max() <= 1
    assert max(max(shape[2:]) for shape in seen) == 40 + 2 * upscaling.OVERLAP_PX  # memory is that of one tile


def test_only_what_is_too_small_is_enlarged() -> None:
    scales: list[float] = []

    def enlarge(image: Image.Image, scale: float) -> Image.Image:
        scales.append(scale)
        return image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)

    picture = Image.radial_gradient("L").convert("RGB")
    assert fit(picture, 256, "square", enlarge).tobytes() == fit(picture, 256, "square", None).tobytes()
    assert scales == []
    wide = fit(picture.resize((256, 200)), 512, "aspect", enlarge)
    assert wide.size == (576, 448)
    assert scales == [pytest.approx(2.25, abs=0.01)]


def test_a_name_that_is_none_is_told(tmp_path: Path) -> None:
    own = (Upscaler(name="4x-Sharp", label="", upscale=lambda image, scale: image),)
    assert enlarger("none", own) is enlarger("Lanczos", own) is enlarger(" ", own) is None
    check("4X-sharp", own)
    with pytest.raises(OptionError, match=r"no upscaler 'more'\. Choose none, lanczos, 4x-Sharp, or a"):
        check("more", own)
    with pytest.raises(OptionError, match="no upscaler file"):
        check(str(tmp_path / "4x.pth"), own)


def test_whatever_an_upscaler_raises_is_told() -> None:
    def broken(image: Image.Image, scale: float) -> Image.Image:
        raise RuntimeError("CUDA out of memory.\n Tried to allocate")

    enlarge = enlarger("x", (Upscaler(name="x", label="", upscale=broken),))
    assert enlarge is not None
    with pytest.raises(PictureError, match=r"The upscaler x failed: CUDA out of memory\. Tried to allocate\. Choose"):
        enlarge(Image.new("RGB", (8, 8)), 2.0)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("ran",))


def test_a_file_is_read_safely_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "4x.pth"
    file.write_bytes(pickle.dumps({"params": Evil()}))
    enlarge = enlarger(str(file), ())
    assert enlarge is not None
    with pytest.raises(PictureError, match=r"spandrel|read safely"):
        enlarge(Image.new("RGB", (8, 8)), 2.0)
    assert "ran" not in capsys.readouterr().out


def esrgan(scale: int = 4) -> dict[str, torch.Tensor]:
    """The state of a tiny RRDBNet (ESRGAN's network), which enlarges by its bias alone: grey."""
    generator, nf, gc = torch.Generator().manual_seed(0), 8, 32
    shapes = {"conv_first": (nf, 3), "conv_body": (nf, nf), "conv_up1": (nf, nf), "conv_up2": (nf, nf)}
    shapes |= {"conv_hr": (nf, nf), "conv_last": (3, nf)}
    for dense in (1, 2, 3):
        for i in range(1, 6):
            shapes[f"body.0.rdb{dense}.conv{i}"] = (nf if i == 5 else gc, nf + (i - 1) * gc)
    state = {}
    for name, (out, into) in shapes.items():
        state[f"{name}.weight"] = 0.01 * torch.randn(out, into, 3, 3, generator=generator)
        state[f"{name}.bias"] = torch.zeros(out)
    state["conv_last.bias"] += 0.5
    return state


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_model_file_enlarges(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("spandrel")
    from safetensors.torch import save_file

    file = tmp_path / f"4x{ending}"
    state = esrgan()
    torch.save({"params_ema": state}, file) if ending == ".pth" else save_file(state, file)
    enlarge = enlarger(str(file), ())
    assert enlarge is not None
    large = enlarge(Image.new("RGB", (210, 40), "teal"), 3.0)
    assert large.size == (840, 160)
    assert all(110 < level < 145 for level in large.getpixel((400, 80)))
    other = tmp_path / f"lora{ending}"
    torch.save({"a": torch.zeros(2)}, other) if ending == ".pth" else save_file({"a": torch.zeros(2)}, other)
    failing = enlarger(str(other), ())
    assert failing is not None
    with pytest.raises(PictureError, match="is no upscaler that can be read safely"):
        failing(Image.new("RGB", (8, 8)), 2.0)
