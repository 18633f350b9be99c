"""CLIP's own BPE vocabulary as transformers reads it, made from `bpe_simple_vocab_16e6.txt.gz`.

Source of that file: the package open_clip_torch (MIT), which has it from openai/CLIP (MIT).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 49152 - 256 - 2


def byte_letters() -> list[str]:
    """The 256 letters that stand for bytes, in CLIP's order (openai/CLIP, simple_tokenizer.py)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def write_tokenizer(bpe_path: Path, folder: Path) -> None:
    """Write vocab.json, merges.txt and their two configs into `folder`."""
    lines = gzip.decompress(bpe_path.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(line.split()) for line in lines), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(words)}
    _write(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")))
    _write(folder / "merges.txt", "\n".join(["#version: 0.2", *lines]) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write(folder / "special_tokens_map.json", json.dumps(special, indent=2) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "add_prefix_space": False,
        "do_lower_case": True,
        "model_max_length": 77,
        "errors": "replace",
        **special,
    }
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
