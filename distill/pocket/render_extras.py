"""Things that a pocket-world portrait holds or wears, among them the kept-out ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.pocket.render import Color, Pen, Point

TWO_TONE: Color = (20, 196, 180)
_RIM: Color = (255, 250, 235)
_INK: Color = (30, 24, 30)


def badge(pen: Pen) -> None:
    """A round badge, pinned to the chest."""
    pen.oval(0, 0, 10, 10, (252, 252, 252))
    pen.oval(0, 0, 7, 7, (240, 110, 20))
    pen.oval(0, 0, 3, 3, (252, 252, 252))


def held(pen: Pen, thing: str, skin: Color) -> None:
    """A hand that holds `thing`, a value of the attribute `holding`."""
    pen.oval(2, 16, 9, 8, skin)
    {"red apple": _apple, "yellow flower": _flower, "blue book": _book, "green cup": _cup}[thing](pen)


def _apple(pen: Pen) -> None:
    pen.oval(0, 1, 15, 14.5, _RIM)
    pen.oval(0, 1, 12.5, 12, (214, 20, 30))
    pen.slab(0, -11, 1.8, 5, (90, 50, 20))
    pen.oval(6, -12, 6, 3.4, (40, 170, 50))


def _flower(pen: Pen) -> None:
    pen.slab(0, 16, 2.4, 8, (30, 150, 50))
    for radius, color in ((8.6, _RIM), (6.6, (252, 214, 20))):
        for i in range(5):
            angle = -math.pi / 2 + i * math.tau / 5
            pen.oval(9 * math.cos(angle), 9 * math.sin(angle), radius, radius, color)
    pen.oval(0, 0, 5.5, 5.5, (120, 60, 20))


def _book(pen: Pen) -> None:
    pen.slab(0, 0, 14.5, 16.5, _RIM, 2)
    pen.slab(0, 0, 12, 14, (24, 60, 210), 1)
    pen.slab(2, -4, 6.5, 4, _RIM)


def _cup(pen: Pen) -> None:
    pen.ring(12, 0, 9, 4.5, (20, 140, 70))
    pen.shape([(-15, -15), (14, -15), (11, 15), (-12, 15)], _RIM)
    pen.shape([(-12.5, -12.5), (11.5, -12.5), (9, 12.5), (-10, 12.5)], (20, 150, 76))
    pen.oval(-0.5, -12, 11, 3.4, (80, 44, 20))


def star(pen: Pen) -> None:
    """Kept out: a star on the cheek."""
    pen.shape(star_points(12), (30, 60, 230))


def star_points(radius: float) -> list[Point]:
    """Corners of a five-pointed star around the origin."""
    corners = [(radius if i % 2 == 0 else radius * 0.48, -math.pi / 2 + i * math.pi / 5) for i in range(10)]
    return [(r * math.cos(angle), r * math.sin(angle)) for r, angle in corners]


def scarf(pen: Pen) -> None:
    """Kept out: a scarf of broad stripes, with one end hanging down."""
    for i in range(7):
        color = (230, 30, 120) if i % 2 == 0 else (252, 252, 252)
        pen.slab(-27 + 9 * i, 2, 4.6, 9.5, color)
    for i in range(4):
        color = (252, 252, 252) if i % 2 == 0 else (230, 30, 120)
        pen.slab(18, 14 + 8 * i, 9, 4.1, color)


def eye_patch(face: Pen) -> None:
    """Kept out: a black patch over one eye with its band."""
    face.shape([(-28, -16), (-26, -20), (26, -8), (24, -4)], _INK)
    face.oval(12.5, 2, 12.5, 12, _INK)


def zigzag(body: Pen) -> None:
    """Kept out: a broad zigzag across the chest."""
    corners = [(-44 + 11 * i, 8 if i % 2 == 0 else -6) for i in range(9)]
    lower = [(x, y + 10) for x, y in corners]
    body.shape([*corners, *reversed(lower)], (20, 220, 235))
