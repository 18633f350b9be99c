"""Every setting, named once.

The tab's widgets, the command line's flags, the API schema, the `ss_*` metadata and the README table
are all made from these fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, get_type_hints

from distill.errors import OptionError


def option(
    default: Any,
    label: str,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] | None = None,
    private: bool = False,
) -> Any:
    """A dataclass field that carries its label, help and range (`ge` <= value <= `le`, or one of `choices`).

    A `private` one says something of the person's machine: it is written into no file that is passed on.
    """
    about = {"label": label, "help": help, "ge": ge, "le": le, "choices": choices, "private": private}
    return field(default=default, metadata=about)


class Checked:
    """Base of the option groups: refuses a value of the wrong kind or out of range when it is made."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            _check(f, hints[f.name], getattr(self, f.name))


def _check(f: Field[Any], kind: type, value: Any) -> None:
    meta, label = f.metadata, f"{f.metadata['label']} ({f.name})"
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise OptionError(f"{label} is {value!r}, which is not {_KINDS[kind]}.", "Nothing was started.")
    if meta["choices"] and value not in meta["choices"]:
        raise OptionError(f"{label} is {value!r}.", f"Choose one of: {', '.join(meta['choices'])}.")
    ge, le = meta["ge"], meta["le"]
    if isinstance(value, (int, float)) and not math.isfinite(value):
        raise OptionError(f"{label} is {value!r}, which is not a number.", "Nothing was started.")
    if (ge is not None and value < ge) or (le is not None and value > le):
        raise OptionError(f"{label} is {value}.", f"Choose a value from {ge} to {le}.")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True, kw_only=True)
class PictureOptions(Checked):
    """How the picture becomes the training picture."""

    resolution: int = option(
        0, "Resolution", "Training edge in pixels, a multiple of 64; 0 takes the checkpoint's own.", ge=0, le=1024
    )
    crop: str = option(
        "square",
        "Crop",
        "square cuts the middle (upper part of a tall picture); aspect keeps the shape in steps of 64.",
        choices=("square", "aspect"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution % 64:
            raise OptionError(f"Resolution is {self.resolution}.", "Choose a multiple of 64, or 0.")


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(Checked):
    """What the training captions look like."""

    captioner: str = option(
        "auto",
        "Captioner",
        "auto, none, a captioner's name, or a folder with a model; several joined with + are merged.",
        private=True,
    )
    endpoint: str = option(
        "",
        "Endpoint",
        "Address of a server that speaks OpenAI's protocol, such as http://127.0.0.1:11434/v1 (Ollama).",
        private=True,
    )
    endpoint_model: str = option(
        "", "Endpoint model", "A vision model of that server; empty takes the first one.", private=True
    )
    identity: str = option(
        "changeable",
        "Identity",
        "changeable: hair, eyes, face and body are captions too; locked: they are left out, so the trigger holds them.",
        choices=("changeable", "locked"),
    )
    trigger: str = option("", "Trigger", "The words that call the subject; empty makes two rare ones.")
    keep_tokens: int = option(1, "Keep tokens", "How many first tags stay in front when shuffling.", ge=0, le=75)
    shuffle: bool = option(True, "Shuffle captions", "Another order of the tags for each draw.")
    clip_skip: int = option(1, "Clip skip", "Use the text encoder's last layer (1) or an earlier one.", ge=1, le=4)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Checked):
    """The single-image recipe."""

    repeats: int = option(20, "Repeats", "Steps in one epoch.", ge=1, le=1000)
    epochs: int = option(6, "Epochs", "Each epoch is kept as a file of its own.", ge=1, le=100)
    batch_size: int = option(
        1, "Batch size", "Draws of noise, timestep and caption order in one step, all on the one picture.", ge=1, le=64
    )
    network_dim: int = option(16, "Rank", "Size of the LoRA (network_dim).", ge=1, le=320)
    network_alpha: float = option(16.0, "Alpha", "The LoRA's scale is alpha / rank (network_alpha).", ge=0.01, le=320)
    unet_lr: float = option(1e-3, "UNet learning rate", "Higher learns sooner and overfits sooner.", ge=0, le=1)
    train_text_encoder: bool = option(False, "Train the text encoder", "Teaches the words too; overfits sooner.")
    text_encoder_lr: float = option(
        5e-5, "Text encoder learning rate", "Used when the text encoder is trained.", ge=0, le=1
    )
    lr_scheduler: str = option(
        "cosine", "Schedule", "How the learning rate goes on after warm-up.", choices=("constant", "cosine")
    )
    lr_warmup: float = option(0.05, "Warm-up", "Share of the steps in which the rate rises from 0.", ge=0, le=1)
    weight_decay: float = option(0.01, "Weight decay", "AdamW's pull towards no change.", ge=0, le=1)
    max_grad_norm: float = option(1.0, "Gradient clipping", "Largest gradient norm; 0 switches it off.", ge=0, le=100)
    flip: bool = option(False, "Flip", "Half of the draws see the picture mirrored.")
    gradient_checkpointing: bool = option(
        False, "Gradient checkpointing", "Less memory, about a third slower, same result."
    )
    seed: int = option(0, "Seed", "Same seed, same LoRA.", ge=0, le=2**32 - 1)

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.repeats * self.epochs


@dataclass(frozen=True, kw_only=True)
class SampleOptions(Checked):
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
class OutputOptions(Checked):
    """What is written."""

    name: str = option("", "Name", "File name of the LoRA; empty makes one from the trigger.")
    preferred_weight: float = option(0.6, "Preferred weight", "Written on the LoRA's card.", ge=-2, le=2)
    keep_epochs: bool = option(True, "Keep every epoch", "Also save name-000001 ... beside the last one.")
    preview: bool = option(True, "Preview", "Make one picture with the new LoRA for its card.")
    save_precision: str = option("fp16", "Save precision", "Of the LoRA file.", choices=("fp16", "fp32"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """All groups together: what one run is made from."""

    picture: PictureOptions = field(default_factory=PictureOptions)
    caption: CaptionOptions = field(default_factory=CaptionOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    sample: SampleOptions = field(default_factory=SampleOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Options:
        """From `{"network_dim": 32, ...}`; names are unique over all groups. Raises OptionError for unknown ones."""
        known = {f.name for _, f, _ in each_option()}
        unknown = sorted(set(values) - known)
        if unknown:
            raise OptionError(f"Unknown option: {', '.join(unknown)}.", "`distill options` lists all there are.")
        hints = get_type_hints(cls)
        groups = {
            part.name: hints[part.name](
                **{f.name: values[f.name] for f in fields(hints[part.name]) if f.name in values}
            )
            for part in fields(cls)
        }
        return cls(**groups)

    def flat(self) -> dict[str, Any]:
        """The inverse of `from_flat`, defaults included."""
        return {f.name: getattr(getattr(self, part.name), f.name) for part in fields(self) for f in _of(self, part)}

    def public(self) -> dict[str, Any]:
        """`flat` without the private ones, for what is passed on."""
        private = {f.name for part in fields(self) for f in _of(self, part) if f.metadata["private"]}
        return {name: value for name, value in self.flat().items() if name not in private}


def _of(options: Options, part: Field[Any]) -> tuple[Field[Any], ...]:
    return fields(getattr(options, part.name))


def each_option() -> Iterator[tuple[type, Field[Any], type]]:
    """(group, field, type) for every option there is, in the order they are shown."""
    for group in (PictureOptions, CaptionOptions, TrainOptions, SampleOptions, OutputOptions):
        hints = get_type_hints(group)
        for f in fields(group):
            yield group, f, hints[f.name]


def markdown_table() -> str:
    """The options as the README shows them."""
    rows = ["| Option | Default | Range | What it does |", "| --- | --- | --- | --- |"]
    for _, f, _ in each_option():
        default = f.default if f.default != "" else "(empty)"
        rows.append(f"| `--{f.name.replace('_', '-')}` | {default} | {_range(f)} | {f.metadata['help']} |")
    return "\n".join(rows)


def _range(f: Field[Any]) -> str:
    ge, le, choices = f.metadata["ge"], f.metadata["le"], f.metadata["choices"]
    if choices:
        return ", ".join(choices)
    return "" if ge is None else f"{ge} to {le}"
