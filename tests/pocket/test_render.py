"""Renders are exact, repeatable, and differ where attributes differ."""

import dataclasses
import random

import numpy as np
import pytest

from distill.pocket import world
from distill.pocket.render import render


def pixels(a, seed=0, size_px=128):
    return np.asarray(render(a, random.Random(seed), size_px), dtype=np.int16)


@pytest.fixture
def plain():
    a = world.sample(random.Random(5))
    absent = {name: values[0] for name, values in world.VALUES.items() if values[0] == world.ABSENT}
    return dataclasses.replace(a, **absent, hair_length="short", garment="sweater")


def test_same_jitter_same_bytes(plain):
    assert np.array_equal(pixels(plain, 1), pixels(plain, 1))
    assert not np.array_equal(pixels(plain, 1), pixels(plain, 2))


def test_size_is_what_was_asked(plain):
    assert render(plain, random.Random(0), 64).size == (64, 64)
    assert render(plain, random.Random(0)).mode == "RGB"


@pytest.mark.parametrize("name", world.VALUES)
def test_each_value_shows(plain, name):
    shown = [pixels(dataclasses.replace(plain, **{name: value})) for value in world.VALUES[name]]
    for i, one in enumerate(shown):
        for other in shown[i + 1 :]:
            changed = np.abs(one - other).max(axis=-1) > 45
            assert changed.sum() >= 60  # px: big enough for latents 8 px wide


@pytest.mark.parametrize("novel", world.NOVEL)
@pytest.mark.parametrize("framing", world.VALUES["framing"])
def test_what_is_kept_out_is_big(plain, novel, framing):
    without = dataclasses.replace(plain, framing=framing)
    changed = np.abs(pixels(without) - pixels(dataclasses.replace(without, novel=novel))).max(axis=-1) > 45
    rows, columns = np.where(changed)
    assert np.ptp(rows) >= 14
    assert np.ptp(columns) >= 14
