"""Draws a pocket-world portrait: flat colours and big shapes, which a narrow f=8 VAE can keep."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.pocket import render_extras
from distill.pocket.world import ABSENT, Attributes

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

HAIR: dict[str, Color] = {
    "black": (35, 30, 42),
    "brown": (122, 72, 34),
    "blonde": (238, 200, 80),
    "red": (208, 62, 20),
    "white": (240, 240, 246),
    "pink": (246, 120, 190),
}
EYES: dict[str, Color] = {"blue": (30, 110, 245), "green": (20, 170, 60), "brown": (120, 62, 15)}
CLOTH: dict[str, Color] = {
    "red": (222, 38, 44),
    "blue": (38, 82, 220),
    "green": (30, 150, 66),
    "yellow": (252, 208, 36),
    "purple": (142, 56, 186),
    "black": (42, 42, 50),
}
WALL: dict[str, Color] = {
    "blue": (110, 176, 246),
    "green": (122, 206, 132),
    "yellow": (250, 228, 112),
    "pink": (250, 166, 202),
    "gray": (150, 150, 156),
    "orange": (246, 150, 66),
}
SKIN: Color = (248, 208, 172)
INK: Color = (30, 24, 30)
WHITE: Color = (252, 252, 252)
GOLD: Color = (250, 190, 20)

SUPERSAMPLE = 4


class Pen:
    """Draws in units of a 128 px picture around a movable, scalable origin."""

    def __init__(self, draw: ImageDraw.ImageDraw, unit_px: float, x: float = 0.0, y: float = 0.0, size: float = 1.0):
        self.draw, self.unit_px, self.x, self.y, self.size = draw, unit_px, x, y, size

    def at(self, x: float, y: float, size: float = 1.0) -> Pen:
        """A pen on the same picture whose origin is at x, y of this one's, `size` times as large."""
        return Pen(self.draw, self.unit_px, self.x + x * self.size, self.y + y * self.size, self.size * size)

    def _to_px(self, points: Sequence[Point]) -> list[Point]:
        return [((self.x + x * self.size) * self.unit_px, (self.y + y * self.size) * self.unit_px) for x, y in points]

    def _box(self, x: float, y: float, rx: float, ry: float) -> list[Point]:
        return self._to_px([(x - rx, y - ry), (x + rx, y + ry)])

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """Fill an ellipse by centre and radii."""
        self.draw.ellipse(self._box(x, y, rx, ry), fill=color)

    def ring(self, x: float, y: float, radius: float, width: float, color: Color) -> None:
        """Draw a circle's line; `radius` is the outer one."""
        line_px = round(width * self.size * self.unit_px)
        self.draw.ellipse(self._box(x, y, radius, radius), outline=color, width=line_px)

    def slab(self, x: float, y: float, rx: float, ry: float, color: Color, corner: float = 0.0) -> None:
        """Fill a rectangle by centre and half sizes."""
        corner_px = corner * self.size * self.unit_px
        self.draw.rounded_rectangle(self._box(x, y, rx, ry), radius=corner_px, fill=color)

    def half(self, x: float, y: float, rx: float, ry: float, color: Color, start: float, end: float) -> None:
        """Fill a slice of an ellipse between two angles in degrees, clockwise from three o'clock."""
        self.draw.pieslice(self._box(x, y, rx, ry), start, end, fill=color)

    def shape(self, points: Sequence[Point], color: Color) -> None:
        """Fill a polygon."""
        self.draw.polygon(self._to_px(points), fill=color)


def shade(color: Color, factor: float) -> Color:
    """Scale a colour's brightness."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in color)
    return red, green, blue


def render(a: Attributes, rng: random.Random, size_px: int = 128) -> Image.Image:
    """Draw `a` as an RGB picture of size_px x size_px; `rng` moves and shades it a little."""
    from PIL import Image, ImageDraw

    large_px = size_px * SUPERSAMPLE
    wall = shade(WALL[a.background], rng.uniform(0.96, 1.03))
    image = Image.new("RGB", (large_px, large_px), wall)
    page = Pen(ImageDraw.Draw(image), large_px / 128)
    skin = shade(SKIN, rng.uniform(0.88, 1.02))
    dx, dy = rng.uniform(-2.5, 2.5), rng.uniform(-2, 2)
    close = a.framing == "close-up"
    head = page.at(64 + dx, (60 if close else 52) + dy, (1.22 if close else 0.98) * rng.uniform(0.98, 1.02))
    body = page.at(64 + dx, (103 if close else 85) + dy, 1.15 if close else 1.0)
    _scenery(page.at(rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5)), a)
    hair = shade(HAIR[a.hair_color], rng.uniform(0.95, 1.05))
    _hair_behind(head, a, hair)
    _body(body, a, shade(CLOTH[a.garment_color], rng.uniform(0.95, 1.05)), skin)
    _head(head, a, hair, skin)
    if a.badge != ABSENT:
        render_extras.badge(page.at(97 + dx / 2, 113 + dy / 2))
    if a.holding != ABSENT:
        render_extras.held(page.at(23 + rng.uniform(-1.5, 1.5), 105 + rng.uniform(-1.5, 1.5)), a.holding, skin)
    return image.resize((size_px, size_px), Image.Resampling.BOX)


def _scenery(page: Pen, a: Attributes) -> None:
    if a.window != ABSENT:
        page.slab(17, 30, 15, 20, WHITE)
        for x in (11, 23):
            for y in (20.5, 39.5):
                page.slab(x, y, 4.2, 7.2, (70, 130, 190))
    if a.tree != ABSENT:
        page.slab(113, 60, 4, 34, (96, 58, 28))
        page.oval(112, 30, 15, 19, (16, 100, 44))


def _hair_behind(head: Pen, a: Attributes, hair: Color) -> None:
    other = render_extras.TWO_TONE if a.novel == "two-tone hair" else hair
    if a.hair_length == "long":
        head.slab(0, 12, 37, 45, hair, 22)
        if other != hair:
            head.slab(18.5, 12, 18.5, 45, other, 18)
    head.oval(0, -4, 33, 34, hair)
    if other != hair:
        head.half(0, -4, 33, 34, other, -90, 90)


def _body(body: Pen, a: Attributes, cloth: Color, skin: Color) -> None:
    bare = a.garment == "dress"
    body.slab(0, 34, 43, 32, skin if bare else cloth, 20)
    body.slab(0, -4, 11, 14, shade(skin, 0.93), 4)
    if a.garment == "dress":
        body.slab(0, 44, 33, 28, cloth, 4)
        for side in (-1, 1):
            body.slab(side * 24, 14, 5, 14, cloth)
        body.oval(0, 12, 17, 9, skin)
    elif a.garment == "shirt":
        body.shape([(-15, 2), (15, 2), (0, 18)], skin)
        for side in (-1, 1):
            body.shape([(side * 8, -2), (side * 21, 2), (side * 12, 22), (0, 14)], WHITE)
    elif a.garment == "sweater":
        body.slab(0, 3, 18, 9, shade(cloth, 0.72 if a.garment_color != "black" else 1.8), 4)
    else:
        body.shape([(-15, 2), (15, 2), (17, 60), (-17, 60)], WHITE)
        for side in (-1, 1):
            lapel = shade(cloth, 0.65 if a.garment_color != "black" else 1.9)
            body.shape([(side * 12, 0), (side * 24, 3), (side * 27, 24), (side * 13, 40)], lapel)
    if a.novel == "zigzag pattern":
        render_extras.zigzag(body.at(0, 13))
    if a.novel == "striped scarf":
        render_extras.scarf(body.at(0, 4))


def _head(head: Pen, a: Attributes, hair: Color, skin: Color) -> None:
    if a.person == "man":
        head.slab(0, 3, 27, 30, skin, 13)
        head.half(0, 5, 27, 29, shade(skin, 0.72), 0, 180)
    else:
        head.oval(0, 2, 27, 31, skin)
    side = 4.5 if a.gaze != ABSENT else 0.0
    face = head.at(side, 0)
    _mouth(face, a)
    _eyes(face, a, 3.4 if side else 0.0)
    _fringe(head, a, hair)
    if a.earrings != ABSENT:
        for edge in (-29, 29):
            head.oval(edge, 15, 7, 7, GOLD)
            head.oval(edge, 15, 2.6, 2.6, (120, 60, 10))
    if a.novel == "star mark":
        render_extras.star(head.at(-17, 17))
    if a.hat != ABSENT:
        color = CLOTH[a.hat]
        head.half(0, -19, 30, 25, color, 180, 360)
        head.slab(0, -19, 39, 4.5, shade(color, 0.75), 4)


def _fringe(head: Pen, a: Attributes, hair: Color) -> None:
    head.half(0, -12, 31, 25, hair, 180, 360)
    if a.novel == "two-tone hair":
        head.half(0, -12, 31, 25, render_extras.TWO_TONE, -90, 0)
    for edge in (-1, 1):
        other = edge > 0 and a.novel == "two-tone hair"
        length = 24 if a.hair_length == "long" else 7
        head.slab(edge * 29, -12 + length, 4.5, length, render_extras.TWO_TONE if other else hair, 4)


def _eyes(face: Pen, a: Attributes, shift: float) -> None:
    for edge in (-1, 1):
        x = edge * 12.5
        face.oval(x, 1, 9.5, 8.5, WHITE)
        face.oval(x + shift, 1, 6.4, 6.8, EYES[a.eyes])
        face.oval(x + shift, 1, 2.3, 2.6, INK)
        if a.person == "man":
            face.slab(x, -11, 9, 2.6, INK, 1)
        else:
            face.half(x, -0.5, 11, 10, INK, 195, 345)
            face.oval(x, 1.8, 9, 8, WHITE)
            face.oval(x + shift, 1.8, 6.4, 6.8, EYES[a.eyes])
            face.oval(x + shift, 1.8, 2.3, 2.6, INK)
            face.shape([(edge * 19, -6), (edge * 26, -8), (edge * 21, 1)], INK)
        if a.glasses != ABSENT:
            face.ring(x, 1, 13.2, 3.4, (150, 20, 60))
    if a.glasses != ABSENT:
        face.slab(0, -2, 3, 2, (150, 20, 60))
    if a.novel == "eye patch":
        render_extras.eye_patch(face)


def _mouth(face: Pen, a: Attributes) -> None:
    lips = (196, 30, 60) if a.person == "woman" else (110, 46, 40)
    if a.expression == "smile":
        face.half(0, 14, 13, 13, lips, 0, 180)
        face.half(0, 15.5, 9, 8, WHITE, 0, 180)
    elif a.expression == "serious":
        face.slab(0, 20, 9, 2.8, lips, 2)
    else:
        face.oval(0, 21, 8, 9, lips)
        face.oval(0, 21, 4.6, 6, INK)
