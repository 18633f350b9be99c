"""A tiny real checkpoint, the world it draws, and the judge that reads its pictures."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent

CHECKPOINT = _HERE / "checkpoint" / "pocket.safetensors"
TOKENIZER = _HERE / "tokenizer"  # CLIP's own vocabulary, the same for all SD1.5
PORTRAIT = _HERE / "portrait.png"  # the demo's subject: it shows something that no training has seen
