"""Folders that are not whole, not plain or not for here: each is told of in one line, before much is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.captions.vlm.captioner import open_folder
from distill.captions.vlm.folder import count_parameters
from distill.captions.vlm.loading import check_memory, dtype_for
from distill.errors import CaptionError
from tests.models import tiny_vlms

needs_llava = pytest.mark.skipif(not tiny_vlms.has("llava"), reason="this transformers has no LLaVA")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlms.build("llava", tmp_path_factory.mktemp("whole") / "llava", shards=3)


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def said_of(folder: Path) -> str:
    with pytest.raises(CaptionError) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


def shard(folder: Path) -> Path:
    return min(folder.glob("model-*.safetensors"))


def cut_off(folder: Path) -> None:
    content = shard(folder).read_bytes()
    shard(folder).write_bytes(content[: len(content) - 100])


def rename_a_weight(folder: Path) -> None:
    weights = load_file(shard(folder))
    name = min(weights)
    save_file(
        {("other" if key == name else key): value for key, value in weights.items()}, shard(folder), {"format": "pt"}
    )


def write(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def only_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    for file in folder.glob("model-*.safetensors"):
        file.rename(file.with_suffix(".bin"))


@needs_llava
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (remove("config.json"), "has no config.json"),
        (write("config.json", "{ oh"), "config.json is damaged"),
        (lambda folder: shard(folder).unlink(), "lacks model-00001-of-0000"),
        (cut_off, "are damaged: the file is cut off"),
        (lambda folder: shard(folder).write_bytes(b"not at all"), "are damaged"),
        (lambda folder: shard(folder).write_bytes(b""), "are damaged"),
        (write("model.safetensors.index.json", "{}"), "index.json is damaged"),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "../out.safetensors"}}'),
            "lacks ../out.safetensors",
        ),
        (only_pickled_weights, "has no .safetensors weights"),
        (rename_a_weight, "are not this model's: 1 are missing, for example"),
        (remove("tokenizer.json"), "has no tokenizer.json"),
        (write("tokenizer.json", "{}"), "can't be loaded"),
        (remove("preprocessor_config.json"), "has no preprocessor_config.json"),
        (write("preprocessor_config.json", "[]"), "can't be loaded"),
    ],
)
def test_what_is_wrong_with_a_folder(copied: Path, harm: Callable[[Path], None], said: str) -> None:
    if "processor_config" in said:
        (copied / "processor_config.json").unlink()  # newer folders have all in this one
    harm(copied)
    assert said in said_of(copied)


def test_what_this_transformers_lacks_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    from distill.captions.vlm.families import FAMILIES, problem

    lacking = [family for family in FAMILIES if problem(family)]
    if not lacking:
        pytest.skip("this transformers has them all")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": lacking[0].kind}))
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert said_of(tmp_path) == problem(lacking[0])


@needs_llava
def test_parameters_are_counted_without_loading(whole: Path) -> None:
    weights = {name: value for file in whole.glob("*.safetensors") for name, value in load_file(file).items()}
    assert count_parameters(whole) == sum(value.numel() for value in weights.values())


def test_too_large_a_model_is_refused_before_it_fills_the_memory() -> None:
    check_memory("A small one", 1000, torch.device("cpu"))
    with pytest.raises(CaptionError, match=r"Giant needs about 1205862\.4 GB of main memory, and [\d.]+ GB are free"):
        check_memory("Giant", 2**50, torch.device("cpu"))


def test_a_cpu_computes_in_float32() -> None:
    assert dtype_for(torch.device("cpu")) == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@needs_llava
def test_on_a_graphics_card(whole: Path) -> None:
    """In half precision there, and the memory comes back."""
    from PIL import Image

    before = torch.cuda.memory_allocated()
    with open_folder(whole, device="cuda") as captioner:
        assert captioner.say(Image.new("RGB", (64, 64), "red")) is not None
        assert captioner._model.dtype in (torch.bfloat16, torch.float16)
    assert torch.cuda.memory_allocated() == before
