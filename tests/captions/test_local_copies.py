from __future__ import annotations

from pathlib import Path

import pytest

from distill.captions.fetching.catalogue import model
from distill.captions.fetching.local_copies import cache, local_copy

WD, QWEN = model("wd-vit-v3"), model("qwen2-vl-2b")


def kept(root: Path, repository: str, commit: str, *names: str) -> Path:
    """As the hub's own client leaves it."""
    folder = root / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("x")
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_finds_the_pinned_commit_with_all_its_weights(root: Path) -> None:
    folder = kept(root, QWEN.repository, QWEN.revision, "config.json", "model-00001-of-00002.safetensors")
    assert local_copy(QWEN) is None
    (folder / "model-00002-of-00002.safetensors").write_text("x")
    assert local_copy(QWEN) == folder


def test_another_commit_is_another_model(root: Path) -> None:
    kept(root, QWEN.repository, "f" * 40, "config.json", "model.safetensors")
    assert local_copy(QWEN) is None


def test_without_a_pin_it_is_what_main_was(root: Path) -> None:
    folder = kept(root, WD.repository, "a" * 40, "config.json", "model.onnx", "selected_tags.csv")
    assert local_copy(WD) is None
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("a" * 40)
    assert local_copy(WD) is None  # ONNX only
    (folder / "model.safetensors").write_text("x")
    assert local_copy(WD) == folder


def test_a_link_to_nothing_is_no_copy(root: Path) -> None:
    folder = kept(root, QWEN.repository, QWEN.revision, "config.json")
    try:
        (folder / "model.safetensors").symlink_to(root / "gone")
    except OSError:
        pytest.skip("no links here")
    assert local_copy(QWEN) is None


def test_the_cache_is_where_the_hub_s_client_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", "/somewhere")
    assert cache() == Path("/somewhere/hub")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache() == Path.home() / ".cache" / "huggingface" / "hub"
