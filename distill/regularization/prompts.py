"""What class pictures are made from: the class in many settings, angles and moods."""

from __future__ import annotations

import random
import re

_CHOICE = re.compile(r"\{([^{}]*)\}")

SETTINGS = (
    "in a park|in a forest|on a beach|in a city street|in a kitchen|in a library|in a garden|at a window|in an office"
    "|in a cafe|on a mountain|in a field|in a bedroom|on a train|in the snow|in the rain|at night|simple background"
)
ANGLES = "from the front|from the side|from behind|from above|from below|three-quarter view"
FRAMINGS = "close-up|upper body|cowboy shot|full body"
EXPRESSIONS = "smiling|laughing|serious|sad|surprised|thoughtful|looking at the viewer|looking away"


def default_template(class_word: str) -> str:
    """The class with setting, angle, framing and expression left open."""
    return f"{class_word}, {{{SETTINGS}}}, {{{ANGLES}}}, {{{FRAMINGS}}}, {{{EXPRESSIONS}}}"


def expanded(template: str, rng: random.Random) -> str:
    """The template with one of its words in place of each {a|b}, the inner ones first."""
    while choice := _CHOICE.search(template):
        word = rng.choice(choice[1].split("|")).strip()
        template = template[: choice.start()] + word + template[choice.end() :]
    return ", ".join(part for part in (" ".join(tag.split()) for tag in template.split(",")) if part)
