"""What captioners say of a person's picture, read into one description: tags in groups, class, warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distill.captions.prose import from_caption
from distill.captions.tags import group_of, parse, subject_of, tidy, without_class
from distill.captions.words import ADJECTIVES, GROUPS, IDENTITY_GROUPS, KAOMOJI

ASKED = GROUPS[:-1]
"""The groups that a captioner is asked for: all but `other`."""

PROMPT = f"""Describe the person in this picture for a caption. Answer with exactly these {len(ASKED)} lines, in this \
order, each a comma-separated list of short lowercase phrases, or the word none:
subject: woman, man or person, and how many
hair: colour, length, style
eyes: colour, make-up
face: skin, freckles, beard, marks
body: build, age
expression: what the face does
clothing: each garment with its colour
accessories: jewellery, glasses, hats, things held
pose: what the body does
camera: framing and angle
background: each thing behind the person
style: photo, painting, drawing, lighting
artifacts: text, watermark, signature, border
Say only what you see. No names, no guesses, no sentences."""
"""For models that follow instructions; small ones break labelled lines less often than JSON."""

SEVERAL = "The captions name more than one person: crop to one, or the LoRA will mix them."

_LABEL = re.compile(rf"^[\s*#>-]*(?:\d+[.)]\s*)?\**({'|'.join(ASKED)})\**\s*[:=]\**\s*(.*)$", re.IGNORECASE)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.IGNORECASE | re.DOTALL)
_BARE = {"hair": "hair", "eyes": "eyes", "background": "background"}
"""Groups in which models leave the noun out ("hair: long, brown")."""

_NOTHING = {"none", "n/a", "na", "no", "nothing", "unknown", "not visible", "none visible", "not applicable", "-"}
_LEFT_OUT = re.compile(r"^(?:no|without|not)\b|\b(?:not visible|not shown|unclear|none)\b")


@dataclass(frozen=True)
class Description:
    """What is in the picture, as far as captioners said it."""

    tags: tuple[str, ...]  # normalised, in the order of the groups
    groups: Mapping[str, str] = field(default_factory=dict)  # of each tag
    raw: str = ""  # as it was said
    by: tuple[str, ...] = ()  # the captioners' names
    notes: tuple[str, ...] = ()  # what the person should know

    @property
    def class_word(self) -> str:
        """`woman`, `man` or `person`."""
        return subject_of(self.tags).class_word

    @property
    def several(self) -> bool:
        """Whether more than one person is named."""
        return subject_of(self.tags).several

    def as_json(self) -> dict[str, Any]:
        """With plain values."""
        return {
            "tags": list(self.tags),
            "groups": dict(self.groups),
            "identity": [tag for tag in self.tags if self.groups[tag] in IDENTITY_GROUPS],
            "class": self.class_word,
            "several": self.several,
            "by": list(self.by),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """`group: tag, tag` for each group that has one."""
        members = {group: [tag for tag in self.tags if self.groups[tag] == group] for group in GROUPS}
        return [f"{group}: {', '.join(tags)}" for group, tags in members.items() if tags]


def read(said: str, by: str = "") -> Description:
    """A captioner's answer as a description: labelled lines, else a comma list, else prose cut into phrases."""
    text = _THOUGHT.sub("", said).strip()
    labelled = _labelled(text)
    groups = labelled or _listed(text)
    return _described(groups, said, (by,) if by else ())


def merge(descriptions: Sequence[Description]) -> Description:
    """One description of several, the first one's words before the others'; what was said before is not said again."""
    groups: dict[str, str] = {}
    for description in descriptions:
        known = bool(groups)  # then the class was said, and "1girl, solo" adds nothing to it
        for tag in without_class(description.tags) if known else description.tags:
            if not _said(tag, groups) and not (known and tag == "solo"):
                groups[tag] = description.groups[tag]
    merged = _described(
        groups, "\n".join(d.raw for d in descriptions), tuple(name for d in descriptions for name in d.by)
    )
    notes = [note for d in descriptions for note in d.notes]
    if len({d.class_word for d in descriptions if d.class_word != "person"}) > 1:
        said = ", ".join(f"{'+'.join(d.by)}: {d.class_word}" for d in descriptions)
        notes.append(f"The captioners don't agree on the class ({said}). Correct it in the captions.")
    return replace(merged, notes=tuple(dict.fromkeys((*merged.notes, *notes))))


def _labelled(text: str) -> dict[str, str]:
    """Tag -> group from labelled lines, or from JSON with the labels as its keys."""
    found: dict[str, str] = {}
    group, count = "", 0
    for line in (_lines_of_json(text) or text).splitlines():
        match = _LABEL.match(line)
        if match:
            group, count = match[1].lower(), count + 1
        listed = match[2] if match else re.sub(r"^\s*[-*•]\s*", "", line)
        if group and listed.strip():
            for tag in _phrases(listed, group):
                found.setdefault(tag, group)
    return found if count >= 2 else {}


def _lines_of_json(text: str) -> str:
    """`label: phrase, phrase` for each key of the JSON object in a text; "" when there is none."""
    start, end = text.find("{"), text.rfind("}")
    try:
        answer = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (json.JSONDecodeError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    lists = {key: value if isinstance(value, list) else [value] for key, value in answer.items()}
    return "\n".join(f"{key}: {', '.join(str(v) for v in values if v is not None)}" for key, values in lists.items())


def _listed(text: str) -> dict[str, str]:
    """Tag -> group from a comma list or prose; a model's "Here is the caption:" is no part of it."""
    text = re.sub(r"^(?:sure|here (?:is|are)|caption|tags|description)\b[^\n.:]*[:.]\s*", "", text, flags=re.IGNORECASE)
    tags = (re.sub(r"^[\s\-*•\"']+|[\"'*]+$", "", tag) for tag in from_caption(text))
    found = {tag: group_of(tag) for tag in tidy(tags) if _is_phrase(tag)}
    pronoun = subject_of([text.lower()]).class_word  # "she" is no tag, but says the class
    return (
        found
        if subject_of(list(found)).class_word != "person" or pronoun == "person"
        else {pronoun: "subject", **found}
    )


def _phrases(listed: str, group: str) -> list[str]:
    """The phrases of a labelled line; a sentence that a model wrote all the same is cut."""
    tags = [tag for part in parse(listed.replace(";", ",")) for tag in (from_caption(part) if _long(part) else [part])]
    cleaned = (re.sub(r"^(?:an?|the|his|her|their)\s+", "", tag.strip(" .*_\"'`[]")) for tag in tags)
    kept = (tag for tag in tidy(cleaned) if _is_phrase(tag) and not tag.isdigit())
    return [f"{tag} {_BARE[group]}" if group in _BARE and _is_bare(tag) else tag for tag in kept]


def _is_phrase(tag: str) -> bool:
    """Something that is there, in words (or a face of signs)."""
    is_said = bool(re.search(r"[^\W_]", tag)) or tag in KAOMOJI
    return is_said and tag not in _NOTHING and not _LEFT_OUT.search(tag)


def _is_bare(tag: str) -> bool:
    """Only colours and the like: "long", "dark brown"."""
    return len(tag.split()) <= 3 and all(word in ADJECTIVES for word in re.findall(r"\w+", tag))


def _long(part: str) -> bool:
    return len(part.split()) > 6


def _said(tag: str, groups: Iterable[str]) -> bool:
    """Whether a tag of these says it already: each of its words is in that one ("hat" in "red hat")."""
    words = set(re.findall(r"\w+", tag))
    return any(words <= set(re.findall(r"\w+", other)) for other in groups)


def _described(groups: Mapping[str, str], raw: str, by: tuple[str, ...]) -> Description:
    tags = tuple(sorted(groups, key=lambda tag: GROUPS.index(groups[tag])))  # stable within a group
    several = subject_of(tags).several
    return Description(tags, {tag: groups[tag] for tag in tags}, raw, by, (SEVERAL,) if several else ())
