"""A copy of a known model that another program has fetched already, in the cache that all of them share."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path

from distill.captions.fetching.catalogue import Model


def cache() -> Path:
    """Where huggingface_hub keeps models: HF_HUB_CACHE, or `hub` in HF_HOME or in the user's cache."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(named or Path(home) / "hub").expanduser()


def local_copy(model: Model) -> Path | None:
    """Its folder there, when it has the commit and the weights; its checksums were the other program's to check."""
    known = cache() / f"models--{model.repository.replace('/', '--')}"
    try:
        commit = model.revision or (known / "refs" / model.ref).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    folder = known / "snapshots" / commit
    return folder if commit and _has_all(folder, model) else None


def _has_all(folder: Path, model: Model) -> bool:
    if not (folder / "config.json").is_file():
        return False
    names = [file.name for file in folder.iterdir() if any(fnmatch(file.name, pattern) for pattern in model.files)]
    exact = {pattern for pattern in model.files if "*" not in pattern and pattern != "tokenizer.model"}
    weights = [name for name in names if name.endswith(".safetensors")]
    # Of model-00001-of-00002.safetensors all have to be there, and none may be a link to nothing.
    count = max(
        (int(found[1]) for name in weights if (found := re.search(r"-of-(\d+)\.safetensors$", name))), default=1
    )
    return exact <= set(names) and len(weights) >= count and all((folder / name).is_file() for name in names)
