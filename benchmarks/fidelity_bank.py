"""What the fidelity bench asks: subjects of the pocket world and twelve prompts for each."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from PIL import Image

from distill.pocket import world
from distill.pocket.render import render

REPORTING, TUNING = 95_000, 96_000
"""First seeds of the subjects that are published and of those that options are chosen on; no training saw either."""

SOURCE_PX = 512  # like a photograph: views cut from it have pixels of their own
OPTIONAL = ("hat", "glasses", "earrings", "badge", "window", "tree", "gaze")
IDENTITY = ("person", "hair_color", "hair_length", "eyes")


@dataclass(frozen=True)
class Subject:
    """A portrait with one kept-out attribute, no caption names it, and something in its hand."""

    number: int
    attributes: world.Attributes
    picture: Image.Image


@dataclass(frozen=True)
class Prompt:
    """One of the twelve: what it changes and what the picture should show then."""

    kind: str  # replicate, remove, replace, add, setting, mix, few; class: without trigger and LoRA's business
    tags: tuple[str, ...]  # the class first
    changed: dict[str, str]  # attribute -> value that differs from the picture's: obedience
    kept: dict[str, str]  # attribute -> value that is named as in the picture

    @property
    def triggered(self) -> bool:
        """Whether it calls the subject."""
        return self.kind != "class"


def subject(number: int, first: int = REPORTING) -> Subject:
    """Number `number`: each kept-out attribute in turn."""
    rng = random.Random(first + number)
    drawn = world.sample(rng, world.NOVEL[number % len(world.NOVEL)])
    attributes = replace(drawn, holding=rng.choice(world.VALUES["holding"][1:]))
    return Subject(number, attributes, render(attributes, rng, SOURCE_PX))


def prompts(subject: Subject) -> list[Prompt]:
    """Twelve prompts, the same whenever they are asked for."""
    a, rng = subject.attributes, random.Random(subject.number)
    there = [name for name in OPTIONAL if getattr(a, name) != world.ABSENT and _may(a, name)]
    absent = [name for name in OPTIONAL if getattr(a, name) == world.ABSENT and _may(a, name)]
    removed = ["holding", *rng.sample(there, min(1, len(there)))]
    added = rng.sample(absent, min(4 - len(removed), len(absent)))
    made = [_prompt("replicate", a, a)]
    made += [_prompt("remove", a, replace(a, **{name: world.ABSENT})) for name in removed]
    made += [_prompt("replace", a, _anew(a, [name], rng)) for name in ("garment_color", "background", "expression")]
    made += [_prompt("replace", a, _anew(a, ["hair_color"], rng))]
    made += [_prompt("add", a, _anew(a, [name], rng)) for name in added]
    made += [_prompt("setting", a, _anew(a, ["background", "framing", "expression"], rng))]
    made += [_prompt("mix", a, replace(_anew(a, ["background", "garment_color"], rng), holding=world.ABSENT))]
    made += [Prompt("few", (a.person,), {}, {"person": a.person})]
    other = world.sample(rng)
    made += [Prompt("class", tuple(world.tags(other)), {}, world.named(other))]
    return made


def _may(a: world.Attributes, name: str) -> bool:
    """Whether the optional attribute can be put on and off without hiding the kept-out one."""
    hides = {"two-tone hair": "hat", "eye patch": "glasses"}
    return hides.get(a.novel) != name


def _anew(a: world.Attributes, names: list[str], rng: random.Random) -> world.Attributes:
    def other(name: str) -> str:
        return rng.choice([v for v in world.VALUES[name] if v not in (getattr(a, name), world.ABSENT)])

    return replace(a, **{name: other(name) for name in names})


def _prompt(kind: str, a: world.Attributes, wanted: world.Attributes) -> Prompt:
    named = world.named(wanted)
    changed = {name: value for name, value in named.items() if value != getattr(a, name)}
    return Prompt(kind, tuple(world.tags(wanted)), changed, {n: v for n, v in named.items() if n not in changed})
