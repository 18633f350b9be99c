"""What a captioner says beside what a person wrote: what is new, what both have, what only the person has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.captions.tags import tidy


@dataclass(frozen=True)
class Difference:
    """Tags in the order in which each side has them, normalised; equal words (`tags.tidy`) are the same tag."""

    new: tuple[str, ...]  # only proposed
    same: tuple[str, ...]  # proposed, and written already
    missing: tuple[str, ...]  # only written: the captioner didn't say it

    @property
    def is_empty(self) -> bool:
        """Whether both say the same, in whatever order."""
        return not self.new and not self.missing


def difference(written: Sequence[str], proposed: Sequence[str]) -> Difference:
    """A captioner's tags compared with a person's."""
    new, missing = _added(written, proposed), _added(proposed, written)
    return Difference(new, tuple(tag for tag in tidy(proposed) if tag not in new), missing)


def _added(before: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """The tags that `more` adds to `before`."""
    return tuple(tidy((*before, *more))[len(tidy(before)) :])
