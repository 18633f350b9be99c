"""The loss of a run as one inline SVG: every step faint, the smoothed course on top."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

WIDTH, HEIGHT, MARGIN = 600, 110, 6
POINTS = 300
"""At most so many are drawn, each the mean of its share of the steps."""

SMOOTHING = 0.9


def svg(losses: Sequence[float], total: int, epochs_at: Sequence[int] = ()) -> str:
    """The course so far over all `total` steps; a faint upright line at each step in `epochs_at`. "" without losses."""
    if not losses:
        return ""
    raw, smooth = binned(losses), binned(smoothed(losses))
    levels = sorted(raw)
    low, high = levels[0], levels[-1 - len(levels) // 50]  # one spike shall not flatten the rest
    total = max(total, len(losses))

    def line(values: Sequence[float], kind: str) -> str:
        share = len(losses) / len(values)
        points = " ".join(f"{_x((i + 1) * share, total):.1f},{_y(v, low, high):.1f}" for i, v in enumerate(values))
        return f'<polyline class="distill-loss-{kind}" points="{points}"/>'

    marks = "".join(
        f'<line class="distill-loss-epoch" x1="{_x(at, total):.1f}" x2="{_x(at, total):.1f}" y1="0" y2="{HEIGHT}"/>'
        for at in epochs_at
    )
    now = smoothed(losses)[-1]
    return (
        f'<figure class="distill-loss"><figcaption>Loss <b>{now:.4f}</b></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Loss {now:.4f} after {len(losses)} of {total} steps">'
        f"{marks}{line(raw, 'raw')}{line(smooth, 'smooth')}</svg></figure>"
    )


def smoothed(losses: Sequence[float], keep: float = SMOOTHING) -> list[float]:
    """Exponential moving average without the pull of its start (Adam's bias correction)."""
    mean, values = 0.0, []
    for i, loss in enumerate(losses, 1):
        mean = keep * mean + (1 - keep) * loss
        values.append(mean / (1 - keep**i))
    return values


def binned(values: Sequence[float], points: int = POINTS) -> list[float]:
    """At most `points` means of equal shares."""
    if len(values) <= points:
        return list(values)
    edges = [round(i * len(values) / points) for i in range(points + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _x(step: float, total: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * step / total


def _y(value: float, low: float, high: float) -> float:
    share = (min(value, high) - low) / (high - low) if high > low else 0.5
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share
