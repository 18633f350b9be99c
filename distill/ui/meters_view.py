"""The meters of a run under its epochs: one word on how it stands, and four courses in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from distill.events import Measured
from distill.training import picker

WIDTH, HEIGHT = 100, 24

VERDICTS = {
    picker.LEARNING: ("Still learning", "Each epoch brings more."),
    picker.GOOD: ("Good", "Little more is gained, and little suffers."),
    picker.OVERFITTING: ("Overfitting", "An earlier epoch has as much of the picture and does less harm."),
}
"""Verdict -> headline and what it means."""

ROWS = (
    ("fit", "Knows the picture", "How much better the checkpoint draws the picture by its captions."),
    ("bleed", "Changes other pictures", "What happens to pictures of the class that do not call the LoRA."),
    ("leak", "Clings to the picture", "How much of the picture comes along into a new scene."),
    ("edit", "Follows new words", "Whether new words change the subject as they change the class."),
)
"""Name in a Reading, what it is called, what it means."""


def view(measured: Sequence[Measured]) -> str:
    """All readings so far; "" before the first."""
    if not measured:
        return ""
    headline, meaning = VERDICTS[measured[-1].verdict]
    rows = "".join(_row(*row, [getattr(one.reading, row[0]) for one in measured]) for row in ROWS)
    return (
        f'<div class="distill-meters" data-verdict="{escape(measured[-1].verdict)}">'
        f"<p><b>{headline}</b> <span>{meaning}</span></p><dl>{rows}</dl></div>"
    )


def tastes(measured: Sequence[Measured]) -> dict[int, list[str]]:
    """Epoch -> the tastes that it fits best."""
    found: dict[int, list[str]] = {}
    for taste, place in picker.picks([one.reading for one in measured]).items():
        found.setdefault(measured[place].epoch, []).append(taste)
    return found


def _row(name: str, label: str, help: str, values: Sequence[float]) -> str:
    said = f"{100 * min(max(values[-1], 0), 1):.0f} %"
    course = _course(values, 1.0 if name == "edit" else 0.0, label)
    return (
        f'<div data-meter="{name}" title="{escape(help)}"><dt>{escape(label)}</dt><dd>{course}<b>{said}</b></dd></div>'
    )


def _course(values: Sequence[float], start: float, label: str) -> str:
    """A small line over the epochs, between 0 and 1, from what a LoRA reads that does nothing."""
    shares = [min(max(value, 0.0), 1.0) for value in (start, *values)]
    step = WIDTH / (len(shares) - 1)
    points = " ".join(f"{i * step:.1f},{HEIGHT - 1 - (HEIGHT - 2) * share:.1f}" for i, share in enumerate(shares))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'<polyline points="{points}"/></svg>'
    )
