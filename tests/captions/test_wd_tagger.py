"""Tiny taggers with real runtimes: an ONNX model that looks at the mean colour, a ViT of timm's with random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distill.captions import wd_tagger
from distill.captions.captioner import CaptioningStopped
from distill.captions.wd_tagger import WdTagger, problem, square
from distill.errors import CaptionError

EDGE = 16
TAGS = """tag_id,name,category,count
9999999,general,9,100
470575,red_hair,0,90
212816,solo,0,80
13197,long_hair,0,70
15,>_<,0,60
16,1girl,0,50
17,hatsune_miku,4,40
18,blue_background,0,30
"""
RED = Image.new("RGB", (40, 40), (255, 0, 0))
ROWS = [  # what each tag wants of the mean blue, green and red, which are between 0 and 1, and its bias
    ((0, 0, 0), 9),
    ((-9, -9, 9), -1),
    ((0, 0, 0), 1),
    ((0, 0, 9), -5),
    ((0, 0, 0), 0.5),
    ((0, 0, 0), 0.2),
    ((0, 0, 0), 8),
    ((9, -9, -9), -1),
]


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    """Takes (N, h, w, BGR) levels of 0 to 255; gives probabilities, as the real files do."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.array([row for row, _ in ROWS], np.float32).T / 255
    bias = np.array([bias for _, bias in ROWS], np.float32)
    nodes = [
        make.make_node("ReduceMean", ["input_1:0"], ["mean"], axes=[1, 2], keepdims=0),
        make.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
        make.make_node("Sigmoid", ["logits"], ["predictions_sigmoid"]),
    ]
    graph = make.make_graph(
        nodes,
        "tagger",
        [make.make_tensor_value_info("input_1:0", kind, ["batch_size", EDGE, EDGE, 3])],
        [make.make_tensor_value_info("predictions_sigmoid", kind, ["batch_size", len(ROWS)])],
        [onnx.numpy_helper.from_array(weights, "weights"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    (tmp_path / "selected_tags.csv").write_text(TAGS)
    return tmp_path


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    """As SmilingWolf/wd-vit-tagger-v3 lies on the hub, but small."""
    timm = _timm()
    from safetensors.torch import save_file

    config: dict[str, Any] = {"architecture": "vit_tiny_patch16_224", "num_classes": len(ROWS)}
    config["model_args"] = {"img_size": 32, "class_token": False, "global_pool": "avg", "fc_norm": False, "depth": 1}
    cfg = {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center"}
    config["pretrained_cfg"] = {**cfg, "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": len(ROWS)}
    torch.manual_seed(1)
    model = timm.create_model(config["architecture"], num_classes=len(ROWS), **config["model_args"])
    torch.nn.init.normal_(model.get_classifier().weight)
    save_file(model.state_dict(), str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "selected_tags.csv").write_text(TAGS)
    return tmp_path


def _timm() -> Any:
    try:
        import timm
    except (ImportError, AttributeError, RuntimeError) as error:  # without torchvision, or with another build's
        pytest.skip(f"timm can't be used here: {error}")
    return timm


def test_counts_first_then_by_probability(onnx_folder: Path) -> None:
    with WdTagger(onnx_folder, name="wd-vit-v3") as tagger:
        assert tagger.name == "wd-vit-v3"
        assert tagger.say(RED) == "1girl, red hair, long hair, solo, >_<"  # .55, .9997, .98, .73, .62
        assert tagger.say(Image.new("RGB", (9, 9), (0, 0, 255))) == "1girl, blue background, solo, >_<"


def test_a_narrow_picture_is_padded_with_white(onnx_folder: Path) -> None:
    assert WdTagger(onnx_folder).say(RED.resize((2, 40))) == "1girl, long hair, solo, >_<"  # white has red, too
    made = np.asarray(square(RED.resize((20, 40)), 16))
    assert made.shape == (16, 16, 3)
    assert (made[8, 0] == 255).all()
    assert (made[8, 8] == (255, 0, 0)).all()


def test_names_of_figures_only_when_asked_for(onnx_folder: Path) -> None:
    assert WdTagger(onnx_folder, characters=True).say(RED).startswith("1girl, red hair, hatsune miku,")


@pytest.mark.slow
def test_stopped_and_closed(onnx_folder: Path) -> None:
    tagger = WdTagger(onnx_folder)
    with pytest.raises(CaptioningStopped):
        tagger.say(RED, lambda: True)
    tagger.close()
    tagger.close()
    with pytest.raises(CaptionError, match="closed"):
        tagger.say(RED)


def test_broken_folders_are_refused_in_one_line(onnx_folder: Path) -> None:
    def said() -> str:
        with pytest.raises(CaptionError) as caught:
            WdTagger(onnx_folder).say(RED)
        assert "\n" not in str(caught.value)
        return caught.value.message

    tags = onnx_folder / "selected_tags.csv"
    tags.write_text(TAGS.replace("18,blue_background,0,30\n", ""))
    assert "gives 8 values for the 7 tags" in said()
    for damaged in ("", "a,b\n1,2\n", "tag_id,name,category\n1\n"):
        tags.write_text(damaged)
        assert "can't be read as a list of tags" in said()
    tags.unlink()
    assert "no selected_tags.csv" in said()
    tags.write_text(TAGS)
    model = onnx_folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:50])
    assert "can't be loaded" in said()
    model.unlink()
    assert "has no model" in said()


def test_where_no_runtime_is_the_missing_ones_are_named(onnx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(onnx_folder) == problem() == ""
    monkeypatch.setattr(wd_tagger, "find_spec", lambda name: None)
    assert "timm or onnxruntime" in problem()
    with pytest.raises(CaptionError, match="timm or onnxruntime"):
        WdTagger(onnx_folder)


def test_a_timm_that_can_not_be_imported_leaves_onnx(onnx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = wd_tagger.find_spec
    monkeypatch.setattr(wd_tagger, "find_spec", lambda name: name == "timm" or found(name))
    monkeypatch.setitem(sys.modules, "timm", None)
    (onnx_folder / "model.safetensors").write_bytes(b"")
    assert WdTagger(onnx_folder).say(RED).startswith("1girl")
    (onnx_folder / "model.onnx").unlink()
    with pytest.raises(CaptionError, match="timm can't be used here"):
        WdTagger(onnx_folder)


def test_with_timm_as_its_own_transform_and_the_model_cards_code_do(timm_folder: Path) -> None:
    import timm
    from safetensors.torch import load_file
    from timm.data import create_transform, resolve_data_config

    picture = Image.effect_noise((50, 30), 80).convert("RGB")
    picture.paste((200, 30, 90), (0, 0, 20, 30))
    config = json.loads((timm_folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], num_classes=len(ROWS), **config["model_args"]).eval()
    model.load_state_dict(load_file(str(timm_folder / "model.safetensors")))
    values = create_transform(**resolve_data_config(config["pretrained_cfg"]))(square(picture, 50))[None]
    with torch.inference_mode():
        want = model(values[:, [2, 1, 0]])[0].sigmoid().numpy()
    with WdTagger(timm_folder) as tagger:
        assert tagger._probabilities is not None
        np.testing.assert_allclose(tagger._probabilities(picture), want, atol=1e-5)
        said = tagger.say(picture).split(", ")
    rows = [row.split(",") for row in TAGS.split()[1:]]
    general = {
        name.replace("_", " ").replace("> <", ">_<")
        for (_, name, kind, _), p in zip(rows, want)
        if kind == "0" and p > 0.35
    }
    assert set(said) == general
    assert 0 < len(general) < 6


def test_damaged_files_for_timm(timm_folder: Path) -> None:
    weights = timm_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(CaptionError, match="is damaged"):
        WdTagger(timm_folder)
    assert weights.is_file()
    for damaged, said in (("{", "no config"), ('{"architecture": "no_such_vit", "num_classes": 8}', "can't be loaded")):
        (timm_folder / "config.json").write_text(damaged)
        with pytest.raises(CaptionError, match=said):
            WdTagger(timm_folder)
