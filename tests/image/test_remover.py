"""A real ONNX file of the shape that rembg's models have: how red each pixel is."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.errors import PictureError
from distill.image import remover
from distill.image.loading import load
from distill.image.masks import subject_mask
from distill.options import PictureOptions


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any model file, and without a network."""
    pytest.importorskip("onnxruntime")
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    def refused(*_: object) -> None:
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr(socket.socket, "connect", refused)
    return tmp_path


def written(file: Path) -> Path:
    """(1, 3, h, w) as rembg prepares it -> (1, 1, h, w): red less green and blue; and a second output, as u2net's."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.array([1, -1, -1], np.float32).reshape(1, 3, 1, 1), "weights")
    sizes = ["batch", 3, "h", "w"]
    graph = make.make_graph(
        [make.make_node("Conv", ["input.1", "weights"], ["1959"]), make.make_node("Neg", ["1959"], ["1960"])],
        "u2net",
        [make.make_tensor_value_info("input.1", kind, sizes)],
        [make.make_tensor_value_info(name, kind, ["batch", 1, "h", "w"]) for name in ("1959", "1960")],
        [weights],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(file))
    return file


def photo() -> Image.Image:
    picture = Image.new("RGB", (120, 90), (0, 60, 255))
    picture.paste((255, 0, 0), (30, 20, 60, 90))
    return picture


def test_the_subject_is_found_by_a_file_that_is_there(home: Path) -> None:
    written(home / ".u2net" / "u2net.onnx")
    mask, notes = subject_mask(load(photo()), None, PictureOptions(mask="remover"))
    assert mask is not None
    assert notes == ("The subject mask was made by u2net.",)
    difference = np.abs((np.asarray(mask) > 127).astype(int) - (np.asarray(photo())[..., 0] > 127))
    assert difference.mean() < 0.01


def test_the_best_file_is_taken_from_all_of_rembgs_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = written(home / ".u2net" / "u2netp.onnx")
    assert list(remover.files()) == [small]
    new = written(home / ".rembg" / "models" / "isnet-general-use" / "isnet-general-use.onnx")
    assert list(remover.files()) == [new, small]
    monkeypatch.setenv("U2NET_HOME", str(home / "models" / "u2net"))  # as WebUI extensions set it
    own = written(home / "models" / "u2net" / "u2net.onnx")
    assert list(remover.files()) == [new, own, small]


def test_without_a_file_nothing_is_fetched_and_the_place_is_named(home: Path) -> None:
    with pytest.raises(PictureError, match="no model file") as caught:
        subject_mask(load(photo()), None, PictureOptions(mask="remover"))
    assert str(home / ".u2net") in caught.value.hint


def test_a_file_that_is_none_is_told(home: Path) -> None:
    (home / ".u2net").mkdir()
    (home / ".u2net" / "u2net.onnx").write_bytes(b"version https://git-lfs")
    with pytest.raises(PictureError, match=r"u2net\.onnx can't be used"):
        remover.remove(photo())


def test_a_picture_without_a_difference_has_no_subject(home: Path) -> None:
    written(home / ".u2net" / "u2net.onnx")
    with pytest.raises(PictureError, match="empty"):
        subject_mask(load(Image.new("RGB", (64, 64))), None, PictureOptions(mask="remover"))


@pytest.mark.parametrize("name", list(remover.KINDS))
def test_the_masks_are_rembgs_own(home: Path, name: str) -> None:
    sessions = pytest.importorskip("rembg.sessions")
    file = written(home / ".u2net" / f"{name}.onnx")
    picture = Image.radial_gradient("L").resize((70, 50)).convert("RGB")
    picture.paste((200, 30, 10), (30, 10, 60, 40))
    made, said = remover.remove(picture)
    session = next(kind for kind in sessions.sessions_class if kind.name() == name)
    import onnxruntime

    theirs = session(name, onnxruntime.SessionOptions()).predict(picture)[0]
    assert said == file.stem
    assert np.abs(np.asarray(made).astype(int) - np.asarray(theirs).astype(int)).max() <= 1
