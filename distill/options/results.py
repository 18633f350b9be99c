"""Settings of what comes out: pictures and files."""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import OptionError
from distill.options.setting import Checked, option


@dataclass(frozen=True, kw_only=True)
class SampleOptions(Checked, title="Sampling"):
    """How a picture is made from a prompt."""

    negative: str = option("", "Negative prompt", "What the picture should not show.")
    sample_steps: int = option(25, "Sampling steps", "More is finer and slower.", ge=1, le=150)
    cfg_scale: float = option(5.0, "CFG scale", "How strictly the prompt is followed.", ge=1, le=30)
    width: int = option(0, "Width", "In pixels, a multiple of 8; 0 takes the checkpoint's own.", ge=0, le=2048)
    height: int = option(0, "Height", "In pixels, a multiple of 8; 0 takes the checkpoint's own.", ge=0, le=2048)
    count: int = option(1, "Pictures", "How many, on consecutive seeds.", ge=1, le=64)
    sample_seed: int = option(1, "Sample seed", "Same seed, same picture.", ge=0, le=2**32 - 1)
    sample_every: int = option(
        1, "Sample every", "Make a quick picture with the LoRA so far each so many epochs; 0 makes none.", ge=0, le=100
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                raise OptionError(f"{name.title()} is {getattr(self, name)}.", "Choose a multiple of 8, or 0.")


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Checked, title="Output"):
    """What is written."""

    name: str = option("", "Name", "File name of the LoRA; empty makes one from the trigger.")
    preferred_weight: float = option(0.6, "Preferred weight", "Written on the LoRA's card.", ge=-2, le=2)
    keep_epochs: bool = option(True, "Keep every epoch", "Also save name-000001 ... beside the last one.")
    meters: bool = option(
        True, "Meters", "Measure as it trains what was learned and what suffers, with the checkpoint itself."
    )
    pick: str = option(
        "last",
        "Take",
        "Which epoch becomes the LoRA: the last, or the one that the meters find flexible, balanced or faithful.",
        choices=("last", "flexible", "balanced", "faithful"),
    )
    preview: bool = option(True, "Preview", "Make one picture with the new LoRA for its card.")
    save_precision: str = option("fp16", "Save precision", "Of the LoRA file.", choices=("fp16", "fp32"))
    keep_state: bool = option(
        True, "Resumable", "Keep the training's state at each epoch until it ends, to go on after a crash."
    )
    log: str = option(
        "none",
        "Log",
        "Loss and rates of each step as a table, for TensorBoard, or both.",
        choices=("none", "csv", "tensorboard", "both"),
    )
