from __future__ import annotations

import re

import pytest

from distill.captions.fetching.catalogue import MODELS, model, version
from distill.errors import CaptionError


def test_every_entry_can_be_fetched_and_shown() -> None:
    assert len({m.name for m in MODELS}) == len(MODELS)
    for m in MODELS:
        assert re.fullmatch(r"[a-z0-9-]+", m.name), m.name  # it names a folder
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", m.repository)
        assert re.fullmatch(r"([0-9a-f]{40})?", m.revision), m.name
        assert m.revision or m.ref
        assert m.size_mib > 0
        assert m.label
        assert m.kind in ("vlm", "tagger")


def test_no_licence_forbids_commercial_use_and_no_weights_are_pickled() -> None:
    for m in MODELS:
        assert not re.search(r"research|non-?commercial|NC", m.licence), m.name
        assert m.licence
        assert not [pattern for pattern in m.files if re.search(r"\.(bin|pth?|pkl|onnx|ckpt|py)$|^\*$", pattern)]


def test_finds_by_name() -> None:
    assert model("smolvlm-500m").family == "idefics3"
    with pytest.raises(CaptionError, match="no captioner 'gpt'"):
        model("gpt")


def test_reads_versions() -> None:
    assert version("2.1.2+cu121") == (2, 1)
    assert version("") == (0, 0)
