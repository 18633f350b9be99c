"""Names for a LoRA: two rare words that the tokenizer knows, or the user's own, checked."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Mapping

from distill.captions.words import NAME_STOP_LIST
from distill.errors import CaptionError

FIRST_RARE_ID = 40_000  # CLIP's word pieces are numbered by how early, so how often, they were merged
MAX_BYTES = 100  # leaves room for "-000001.safetensors" and for a folder

_PRONOUNCEABLE = re.compile(r"[bcdfghjklmnprstvwz][aeiou][bdfgklmnprstvxz](?:[aeiou][bdfgklmnrstvxz]?)?")
_RESERVED = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}
_FORBIDDEN = re.compile(r'[<>:"/\\|?*,\x00-\x1f\x7f]')


def rare_words(vocabulary: Mapping[str, int]) -> list[str]:
    """Words of 3 to 5 letters that are one token each, seldom seen, and can be said aloud; sorted."""
    words = (
        piece.removesuffix("</w>") for piece, i in vocabulary.items() if piece.endswith("</w>") and i > FIRST_RARE_ID
    )
    return sorted(word for word in words if _PRONOUNCEABLE.fullmatch(word) and word not in NAME_STOP_LIST)


def rare_trigger(vocabulary: Mapping[str, int], rng: random.Random) -> str:
    """Two rare words ("fip zor"). Raises CaptionError when the vocabulary has none."""
    words = rare_words(vocabulary)
    if len(words) < 2:
        raise CaptionError("This tokenizer has no rare words to make a name of.", "Give a trigger yourself.")
    return " ".join(rng.sample(words, 2))


def name_of(trigger: str) -> str:
    """The file name that goes with a trigger: "fip zor" is fip_zor."""
    return repaired_name("_".join(trigger.split()))


def checked_name(name: str) -> str:
    """A name that every file system and `<lora:name:0.6>` takes. Raises CaptionError, which proposes a repaired one."""
    problem = _problem(name)
    if problem:
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise CaptionError(f"The name {shown!r} {problem}.", f"Use {repaired_name(name)!r}, for example.")
    return name


def _problem(name: str) -> str:
    """Why a name can't be used, as the end of a sentence; empty when it can."""
    bad = _FORBIDDEN.search(name)
    checks = (
        (not name.strip(), "is empty"),
        ("/" in name or "\\" in name, "has a slash, and a LoRA's name is no path"),
        (bool(bad), f"has {bad[0]!r} in it, which file systems or the <lora:...> syntax don't take" if bad else ""),
        (name != name.strip(), "begins or ends with a space"),
        (name.startswith(".") or name.endswith("."), "begins or ends with a dot"),
        (name.split(".")[0].strip().lower() in _RESERVED, "is reserved on Windows"),
        (len(name.encode("utf-8", "replace")) > MAX_BYTES, f"is longer than {MAX_BYTES} bytes"),
        (
            any(unicodedata.category(sign) in ("Cs", "Cf", "Zl", "Zp") for sign in name),
            "has invisible characters in it",
        ),
    )
    return next((said for is_so, said in checks if is_so), "")


def repaired_name(name: str) -> str:
    """The nearest name that `checked_name` takes; "lora" when nothing is left."""
    visible = "".join(sign for sign in name if unicodedata.category(sign) not in ("Cs", "Cf", "Zl", "Zp"))
    plain = re.sub(r"_{2,}", "_", _FORBIDDEN.sub("_", unicodedata.normalize("NFC", visible)))
    short = plain.strip(" ._").encode()[:MAX_BYTES].decode("utf-8", "ignore").strip(" ._")
    if short.split(".")[0].strip().lower() in _RESERVED:
        short = f"{short.split('.')[0].strip()}_lora"
    return short or "lora"
