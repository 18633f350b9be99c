"""Turns what a captioner says, a sentence or a comma list, into tags."""

from __future__ import annotations

import re
from statistics import median

from distill.captions.tags import parse, tidy

_FRAMES = re.compile(
    r"\b(?:(?P<kept>close[ -]?up|portrait|painting|drawing|illustration|cartoon|selfie)|photo(?:graph)?|picture|image)"
    r" of\b"
)
_COLOURS = "black|white|red|blue|green|yellow|purple|pink|brown|gr[ae]y|orange|gold|silver|blonde?|beige"
_COLOUR_PAIR = re.compile(rf"\b({_COLOURS}) and (?=(?:{_COLOURS})\b)")
_CUTS = re.compile(
    r"[,;]|\.(?=\s|$)|"
    r"\b(?:and|with|who|that|which|while|but|wearing|dressed in|in front of|against|next to|near|featuring|has|have)\b|"
    r"(?=\b(?:holding|standing|sitting|lying|leaning|looking|posing|smiling|walking|riding)\b)|"
    r"\b(in|at|on)\s+(?=(?:an?|the|her|his)\b)"  # the one group: `_cut` puts it back after "sitting"
)
_POSE = re.compile(r"(?:standing|sitting|lying|leaning|riding|walking)")
_FILLERS = re.compile(
    r"\b(?:an?|the|his|her|their|its|some|there|this|these|is|are|was|very|appears to be|she|he|they|it|also|being)\b"
)
_EMPTY = {"background", "foreground", "front", "middle", "camera"}
_LOOSE_ENDS = re.compile(r"^(?:in|on|at|of|to|by|for|from)\b|\b(?:in|on|at|of|to|by|for|in front)$")


def from_caption(text: str) -> list[str]:
    """Tags of a captioner's answer: a comma list as it stands, a sentence cut into phrases."""
    text = re.sub(r"(?<=\w) - (?=\w)", "-", text)  # BERT's word pieces give "t - shirt"
    return parse(text) if _is_list(text) else phrases(text)


def _is_list(text: str) -> bool:
    """Two commas at least, and the parts between them are short."""
    parts = [part.split() for part in text.split(",")]
    return len(parts) >= 3 and median(len(part) for part in parts) <= 3 and max(len(part) for part in parts) <= 6


def phrases(text: str) -> list[str]:
    """A sentence cut at commas and at what joins its phrases, less articles and fillers."""
    text = text.lower().replace("’", "'")
    text = _FRAMES.sub(lambda found: f"{found['kept'] or ''}, ", text)
    text = _COLOUR_PAIR.sub(r"\1 & ", text)  # "red and white scarf" is one thing
    kept: list[str] = []
    for part in _cut(text):
        part = " ".join(_FILLERS.sub(" ", part).split())
        part = _LOOSE_ENDS.sub("", part).strip(" .!?\"'")
        if len(part) > 1 and part not in _EMPTY:
            kept.append(part.replace(" & ", " and "))
    return tidy(kept)


def _cut(text: str) -> list[str]:
    """The text between the cuts; "sitting on a bench" stays whole."""
    first, *others = _CUTS.split(text)
    parts = [first]
    for place, part in zip(others[::2], others[1::2], strict=True):
        if place and _POSE.fullmatch(parts[-1].strip()):
            parts[-1] = f"{parts[-1].strip()} {place} {part}"
        else:
            parts.append(part)
    return parts
