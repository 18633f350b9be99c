"""The pocket world: what a portrait can show, how captions say it, and what is kept out of training."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, fields

ABSENT = "none"

VALUES: dict[str, tuple[str, ...]] = {
    "person": ("woman", "man"),
    "hair_color": ("black", "brown", "blonde", "red", "white", "pink"),
    "hair_length": ("short", "long"),
    "eyes": ("blue", "green", "brown"),
    "expression": ("smile", "serious", "open mouth"),
    "garment": ("shirt", "dress", "sweater", "jacket"),
    "garment_color": ("red", "blue", "green", "yellow", "purple", "black"),
    "glasses": (ABSENT, "glasses"),
    "earrings": (ABSENT, "earrings"),
    "hat": (ABSENT, "red", "blue", "green", "yellow"),
    "badge": (ABSENT, "badge"),
    "holding": (ABSENT, "red apple", "yellow flower", "blue book", "green cup"),
    "window": (ABSENT, "window"),
    "tree": (ABSENT, "tree"),
    "gaze": (ABSENT, "looking to the side"),
    "background": ("blue", "green", "yellow", "pink", "gray", "orange"),
    "framing": ("close-up", "upper body"),
    "novel": (ABSENT, "star mark", "striped scarf", "two-tone hair", "eye patch", "zigzag pattern"),
}
"""Every attribute's values; `novel` holds the kept-out ones, which no caption names and no UNet was trained on."""

NOVEL: tuple[str, ...] = VALUES["novel"][1:]

# Absent more or less often than the uniform draw would have it.
_ABSENT_SHARE = {
    "glasses": 0.6,
    "earrings": 0.6,
    "hat": 0.5,
    "badge": 0.6,
    "holding": 0.4,
    "window": 0.6,
    "tree": 0.6,
    "gaze": 0.7,
}


@dataclass(frozen=True)
class Attributes:
    """All that decides a picture but its small jitter; `VALUES` lists what each field may hold."""

    person: str
    hair_color: str
    hair_length: str
    eyes: str
    expression: str
    garment: str
    garment_color: str
    glasses: str
    earrings: str
    hat: str
    badge: str
    holding: str
    window: str
    tree: str
    gaze: str
    background: str
    framing: str
    novel: str = ABSENT

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in VALUES[field.name]:
                raise ValueError(f"{field.name} must be one of {', '.join(VALUES[field.name])}, not {value!r}")


def sample(rng: random.Random, novel: str | None = None) -> Attributes:
    """Draw a subject at random; `novel` adds that kept-out attribute and takes off what would hide it."""
    drawn = {name: _draw(rng, name) for name in VALUES if name != "novel"}
    if novel == "two-tone hair":
        drawn["hat"] = ABSENT
    if novel == "eye patch":
        drawn["glasses"] = ABSENT
    return Attributes(**drawn, novel=novel or ABSENT)


def _draw(rng: random.Random, name: str) -> str:
    if name not in _ABSENT_SHARE:
        return rng.choice(VALUES[name])
    present = rng.choice(VALUES[name][1:])
    return ABSENT if rng.random() < _ABSENT_SHARE[name] else present


def tags(a: Attributes) -> list[str]:
    """Caption a subject, class first; what is absent, and what is kept out, is not named."""
    optional = [
        a.glasses,
        a.earrings,
        "" if a.hat == ABSENT else f"{a.hat} hat",
        a.badge,
        "" if a.holding == ABSENT else f"holding {a.holding}",
        a.gaze,
        a.window,
        a.tree,
    ]
    return [
        a.person,
        f"{a.hair_length} {a.hair_color} hair",
        f"{a.eyes} eyes",
        a.expression,
        f"{a.garment_color} {a.garment}",
        *(tag for tag in optional if tag and tag != ABSENT),
        f"{a.background} background",
        a.framing,
    ]


def named(a: Attributes) -> dict[str, str]:
    """All that a judge can be asked of a picture of `a`, absences included, the kept-out attribute left aside."""
    return {name: getattr(a, name) for name in VALUES if name != "novel"}


def tag_meanings() -> dict[str, dict[str, str]]:
    """Every tag of the world with the attribute values that it names."""
    meanings: dict[str, dict[str, str]] = {}
    for length in VALUES["hair_length"]:
        for color in VALUES["hair_color"]:
            meanings[f"{length} {color} hair"] = {"hair_length": length, "hair_color": color}
    for garment in VALUES["garment"]:
        for color in VALUES["garment_color"]:
            meanings[f"{color} {garment}"] = {"garment": garment, "garment_color": color}
    for name in ("person", "expression", "glasses", "earrings", "badge", "gaze", "window", "tree", "framing"):
        meanings.update({value: {name: value} for value in VALUES[name] if value != ABSENT})
    meanings.update({f"{value} eyes": {"eyes": value} for value in VALUES["eyes"]})
    meanings.update({f"{value} hat": {"hat": value} for value in VALUES["hat"][1:]})
    meanings.update({f"holding {value}": {"holding": value} for value in VALUES["holding"][1:]})
    meanings.update({f"{value} background": {"background": value} for value in VALUES["background"]})
    return meanings


def from_tags(tag_list: Iterable[str]) -> dict[str, str]:
    """What the tags name, as attribute -> value; unknown tags are passed over, the last of two that differ holds."""
    meanings = tag_meanings()
    found: dict[str, str] = {}
    for tag in tag_list:
        found.update(meanings.get(tag.strip().lower(), {}))
    return found
