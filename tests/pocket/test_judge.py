"""The judge that ships reads what the renderer drew."""

import random

import pytest

pytest.importorskip("safetensors")

from distill.pocket import world
from distill.pocket.judge import Judge, agreement
from distill.pocket.render import render


@pytest.fixture(scope="module")
def judge():
    return Judge()


def test_it_reads_every_attribute_of_fresh_renders(judge):
    rng = random.Random("unseen")
    subjects = [world.sample(rng, rng.choice((None, *world.NOVEL))) for _ in range(64)]
    readings = judge.read_all([render(a, rng) for a in subjects])
    right = [
        agrees
        for a, reading in zip(subjects, readings, strict=True)
        for agrees in agreement(reading, {**world.named(a), "novel": a.novel}).values()
    ]
    assert sum(right) / len(right) >= 0.98


def test_one_picture_reads_as_it_does_among_others(judge):
    rng = random.Random(1)
    images = [render(world.sample(rng), rng) for _ in range(3)]
    assert {n: v for n, (v, _) in judge.read(images[0]).items()} == {
        n: v for n, (v, _) in judge.read_all(images)[0].items()
    }


def test_it_takes_pictures_of_any_size_and_says_how_sure_it_is(judge):
    a = world.sample(random.Random(2))
    reading = judge.read(render(a, random.Random(2), 256).convert("RGBA"))
    assert set(reading) == set(world.VALUES)
    assert all(1 / len(world.VALUES[name]) <= sure <= 1.0001 for name, (_, sure) in reading.items())
