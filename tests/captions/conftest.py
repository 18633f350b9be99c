"""The real CLIP vocabulary, and a tiny BLIP of random weights in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
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


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the folder of a tiny vision-language model, once: (name, lesson, shards)."""
    from tests.models import tiny_vlms

    @cache
    def made(name: str, lesson: Any = None, shards: int = 1) -> Path:
        if not tiny_vlms.has(name):
            pytest.skip(f"this transformers has no {name}")
        return tiny_vlms.build(name, tmp_path_factory.mktemp("vlm") / name, lesson=lesson, shards=shards)

    return made
