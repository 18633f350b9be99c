"""Settings of what keeps the checkpoint as it is for everything but the subject."""

from __future__ import annotations

from dataclasses import dataclass

from distill.options.setting import Checked, option


@dataclass(frozen=True, kw_only=True)
class RegularizationOptions(Checked, title="Regularization"):
    """Pictures of the class, or the checkpoint itself as a teacher."""

    reg_pictures: str = option(
        "none",
        "Class pictures",
        "folder: your own; generate: made by the checkpoint once and kept; as many steps again as the picture has.",
        choices=("none", "folder", "generate"),
    )
    reg_folder: str = option(
        "",
        "Folder of class pictures",
        "May have sub-folders man, woman, person ...; captions are .txt files beside them, else the class.",
        private=True,
    )
    reg_count: int = option(
        200,
        "Number of class pictures",
        "At most; an epoch takes no more of them than it has draws of the picture.",
        ge=1,
        le=2000,
    )
    reg_prompt: str = option(
        "",
        "Class prompt",
        "What they are made from, {a|b} takes one of several; empty varies setting, angle and expression of the class.",
    )
    reg_captioned: bool = option(
        False, "Describe class pictures", "The captioner writes their captions, instead of the class or the prompt."
    )
    reg_weight: float = option(1.0, "Weight of class pictures", "Of their loss (prior_loss_weight).", ge=0, le=10)
    teacher_class: float = option(
        0.0,
        "Teacher: class",
        "How strongly the class without the trigger has to stay what the checkpoint makes of it; no pictures needed.",
        ge=0,
        le=10,
    )
    teacher_blank: float = option(
        0.0, "Teacher: blank", "The same for the empty prompt; keeps background and style of others.", ge=0, le=10
    )
    teacher_every: int = option(
        1,
        "Teacher: every so many steps",
        "1 asks it in every step, which takes over twice the time; 4 in every fourth: a third more.",
        ge=1,
        le=100,
    )
