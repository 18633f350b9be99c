"""Every setting, named once.

The tab's widgets, the command line's flags, the API schema, the `ss_*` metadata and the README table
are all made from these fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, get_type_hints

from distill.errors import OptionError
from distill.options.data import CaptionOptions, PictureOptions
from distill.options.regularization import RegularizationOptions
from distill.options.results import OutputOptions, SampleOptions
from distill.options.setting import Checked, option
from distill.options.training import NetworkOptions, NoiseOptions, TrainOptions

__all__ = [
    "GROUPS",
    "CaptionOptions",
    "Checked",
    "NetworkOptions",
    "NoiseOptions",
    "Options",
    "OutputOptions",
    "PictureOptions",
    "RegularizationOptions",
    "SampleOptions",
    "TrainOptions",
    "each_option",
    "markdown_table",
    "option",
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """All groups together: what one run is made from."""

    picture: PictureOptions = field(default_factory=PictureOptions)
    caption: CaptionOptions = field(default_factory=CaptionOptions)
    regularization: RegularizationOptions = field(default_factory=RegularizationOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    noise: NoiseOptions = field(default_factory=NoiseOptions)
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

    @property
    def steps(self) -> int:
        """Optimizer steps in all for one picture, those of class pictures among them."""
        return self.steps_of(1)

    def steps_of(self, pictures: int) -> int:
        """Likewise for several pictures and views; `pictures` is the sum of what each is repeated."""
        train = self.train
        draws = train.repeats * (1 if train.repeats_of == "epoch" else pictures)
        draws *= 1 if self.regularization.reg_pictures == "none" else 2
        return train.epochs * train.steps_of(draws)

    def public(self) -> dict[str, Any]:
        """`flat` without the private ones, for what is passed on."""
        private = {f.name for part in fields(self) for f in _of(self, part) if f.metadata["private"]}
        return {name: value for name, value in self.flat().items() if name not in private}


GROUPS: tuple[type[Checked], ...] = (
    PictureOptions,
    CaptionOptions,
    RegularizationOptions,
    TrainOptions,
    NetworkOptions,
    NoiseOptions,
    SampleOptions,
    OutputOptions,
)
"""In the order in which they are shown."""


def _of(options: Options, part: Field[Any]) -> tuple[Field[Any], ...]:
    return fields(getattr(options, part.name))


def each_option() -> Iterator[tuple[type[Checked], Field[Any], type]]:
    """(group, field, type) for every option there is, in the order they are shown."""
    for group in GROUPS:
        hints = get_type_hints(group)
        for f in fields(group):  # type: ignore[arg-type]
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
