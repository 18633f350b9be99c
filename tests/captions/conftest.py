"""The real CLIP vocabulary, and a tiny BLIP of random weights in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.tiny_blip import blip_in

TOKENIZER = Path(__file__).parents[2] / "distill" / "pocket" / "tokenizer"


@pytest.fixture(scope="session")
def clip_vocabulary() -> dict[str, int]:
    return json.loads((TOKENIZER / "vocab.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(TOKENIZER))


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a full-size BLIP lies in its folder, but tiny."""
    return blip_in(tmp_path_factory.mktemp("blip"))
