"""What captioners say of a person's picture, read into one description: tags in groups, class, warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.captions.prose import from_caption
from distill.captions.tags import group_of, parse, subject_of, tidy
from distill.captions.words import GROUPS, IDENTITY_GROUPS

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
    groups = labelled or {tag: group_of(tag) for tag in from_caption(text)}
    return _described(groups, said, (by,) if by else ())


def merge(descriptions: Sequence[Description]) -> Description:
    """One description of several, the first one's words before the others'; what was said before is not said again."""
    groups: dict[str, str] = {}
    for description in descriptions:
        for tag in description.tags:
            if tag in groups or _said(tag, groups):
                continue
            groups[tag] = description.groups[tag]
    merged = _described(
        groups, "\n".join(d.raw for d in descriptions), tuple(name for d in descriptions for name in d.by)
    )
    classes = {d.class_word for d in descriptions if d.class_word != "person"}
    if len(classes) > 1:
        said = ", ".join(f"{'+'.join(d.by)}: {d.class_word}" for d in descriptions)
        note = f"The captioners don't agree on the class ({said}). Correct it in the captions."
        return Description(merged.tags, merged.groups, merged.raw, merged.by, (*merged.notes, note))
    return merged


def _labelled(text: str) -> dict[str, str]:
    """Tag -> group from labelled lines; a phrase whose word the table knows better keeps the table's group."""
    found: dict[str, str] = {}
    group, count = "", 0
    for line in text.splitlines():
        match = _LABEL.match(line)
        if match:
            group, count = match[1].lower(), count + 1
        listed = match[2] if match else re.sub(r"^\s*[-*•]\s*", "", line)
        if group and listed.strip():
            for tag in _phrases(listed):
                found.setdefault(tag, group)
    return found if count >= 2 else {}


def _phrases(listed: str) -> list[str]:
    """The phrases of a labelled line; a sentence that a model wrote all the same is cut."""
    tags = [tag for part in parse(listed.replace(";", ",")) for tag in (from_caption(part) if _long(part) else [part])]
    cleaned = (re.sub(r"^(?:an?|the|his|her|their)\s+", "", tag.strip(" .*_\"'`[]")) for tag in tags)
    return [tag for tag in tidy(cleaned) if tag not in _NOTHING and not _LEFT_OUT.search(tag)]


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
