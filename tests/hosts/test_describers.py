"""The WebUI's own captioners: used where their files are, left as they were, never downloaded."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

from distill.errors import CaptionError
from distill.host import Describer
from distill.hosts import describers
from distill.hosts.detect import detect
from distill.hosts.standalone import Standalone
from tests.fakewebui.describers import Colours, put_weights

RED, BLUE = Image.new("RGB", (60, 40), "red"), Image.new("RGB", (60, 40), "blue")


@pytest.fixture(autouse=True)
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BLIP's list of words, where BertTokenizer looks before it asks the hub: in the current folder."""
    folder = tmp_path / "here" / "bert-base-uncased"
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(describers, "_seen_words", set())
    return folder


def own(name: str = "") -> dict[str, Describer]:
    return {d.name: d for d in detect().describers()}


def say(name: str, image: Image.Image = RED) -> str:
    with detect().turn("distill-1", "Distill: captions"):
        return own()[name].describe(image)


def state(webui: Any) -> list[Any]:
    return [dict(vars(owner)) for owner in (webui.interrogator, webui.tagger)]


def managed(webui: Any) -> list[Any]:
    return [p.model for p in webui.memory.current_loaded_models] if hasattr(webui, "memory") else []


def test_what_is_missing_is_named_and_not_downloaded(webui: Any, words: Path) -> None:
    blip, tags = own().values()
    assert (blip.name, tags.name) == ("webui-blip", "webui-deepbooru")
    assert blip.problem.startswith(f"Its weights (855 MB) are not in {webui.models_path / 'BLIP'} yet: use the WebUI's")
    assert "Interrogate DeepBooru in img2img once" in tags.problem
    for each in (blip, tags):
        with pytest.raises(CaptionError, match=r"can't be used yet\. Its weights"):
            each.describe(RED)
    put_weights(webui.models_path)
    assert [each.problem for each in own().values()] == ["", ""]
    describers._seen_words.clear()
    words.rename(words.parent / "elsewhere")
    assert "list of words is not downloaded yet" in own()["webui-blip"].problem
    with pytest.raises(CaptionError, match="list of words"):
        say("webui-blip")
    assert webui.modelloader.downloads == []


@pytest.mark.parametrize(
    ("name", "red", "blue"),
    [("webui-blip", "a woman in red", "a woman in blue"), ("webui-deepbooru", "1girl, red hair", "1girl, blue hair")],
)
def test_they_describe_and_are_let_go_of(webui: Any, name: str, red: str, blue: str) -> None:
    put_weights(webui.models_path)
    webui.opts.interrogate_return_ranks = True  # would write probabilities among the tags
    before, earlier = state(webui), set(Colours.living)
    assert (say(name), say(name, BLUE.convert("RGBA"))) == (red, blue)
    assert state(webui) == before
    assert set(Colours.living) <= earlier
    assert managed(webui) == []
    assert webui.clips_loaded == 0
    assert webui.state.begun == ["task(distill-1)"] * 2
    assert not webui.queue_lock.locked()
    assert webui.interrogator.interrogate(RED) == "a woman in red"  # the WebUI's own button, afterwards


def test_what_the_webui_had_loaded_stays_loaded(webui: Any) -> None:
    put_weights(webui.models_path)
    webui.interrogator.interrogate(RED)
    webui.tagger.start()
    before, loaded = state(webui), managed(webui)
    (webui.models_path / "BLIP").rename(webui.models_path / "elsewhere")
    assert own()["webui-blip"].problem == ""
    assert (say("webui-blip"), say("webui-deepbooru")) == ("a woman in red", "1girl, red hair")
    assert state(webui) == before
    assert set(map(id, managed(webui))) == set(map(id, loaded))
    assert webui.sent_to_ram == (0 if loaded else 3)  # its own interrogation, then each of ours


def test_a_person_who_keeps_them_in_memory_keeps_ours(webui: Any) -> None:
    put_weights(webui.models_path)
    webui.opts.interrogate_keep_models_in_memory = True
    say("webui-blip")
    kept = weakref.ref(webui.interrogator.blip_model)
    assert kept() is not None
    say("webui-blip")
    assert webui.interrogator.blip_model is kept()
    assert webui.sent_to_ram == 0


def test_failures_are_one_line_and_nothing_stays(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put_weights(webui.models_path)
    before, earlier = state(webui), set(Colours.living)

    def out_of_memory(image: Image.Image, **_: object) -> str:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(type(webui.interrogator), "generate_caption", lambda self, image: out_of_memory(image))
    monkeypatch.setattr(type(webui.tagger), "tag_multi", lambda self, image, **_: out_of_memory(image))
    for name, label in (("webui-blip", "BLIP"), ("webui-deepbooru", "DeepBooru")):
        with pytest.raises(CaptionError) as caught:
            say(name)
        assert caught.value.message == f"The WebUI's {label} failed: CUDA out of memory. Tried to allocate."
    assert state(webui) == before
    assert set(Colours.living) <= earlier
    assert managed(webui) == []
    monkeypatch.setattr(type(webui.interrogator), "generate_caption", lambda self, image: "a woman<error>")
    with pytest.raises(CaptionError, match="its console says why"):
        say("webui-blip")
    (webui.models_path / "torch_deepdanbooru" / "model-resnet_custom_v3.pt").write_bytes(b"no weights")
    with pytest.raises(CaptionError, match="DeepBooru failed"):
        say("webui-deepbooru")
    assert state(webui) == before
    assert not webui.queue_lock.locked()


def test_a_webui_without_them_has_none(webui: Any, monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    sys.modules["modules.shared"].interrogator = None  # as in Forge Classic
    monkeypatch.delitem(sys.modules, "modules.deepbooru")
    assert own() == {}
    monkeypatch.setitem(sys.modules, "modules.deepbooru", ModuleType("modules.deepbooru"))
    sys.modules["modules.shared"].interrogator = webui.interrogator
    monkeypatch.delattr(sys.modules["modules.paths"], "models_path")
    assert own() == {}  # somebody has changed what we look at; asking never fails
    assert Standalone(checkpoint, lora_dir=checkpoint.parent).describers() == ()
