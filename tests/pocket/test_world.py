"""The pocket world: captions and attributes mean the same."""

import random
from dataclasses import fields

import pytest

from distill.pocket import world


def test_tags_name_exactly_what_is_there():
    rng = random.Random(0)
    for _ in range(300):
        a = world.sample(rng)
        named = world.from_tags(world.tags(a))
        assert named.items() <= world.named(a).items()
        absent = {name for name in world.named(a) if name not in named}
        assert all(getattr(a, name) == world.ABSENT for name in absent)


def test_class_comes_first():
    assert world.tags(world.sample(random.Random(1)))[0] in ("woman", "man")


@pytest.mark.parametrize("novel", world.NOVEL)
def test_a_kept_out_attribute_is_never_named(novel):
    rng = random.Random(2)
    for _ in range(50):
        a = world.sample(rng, novel)
        assert a.novel == novel
        assert novel not in ", ".join(world.tags(a))
        assert "novel" not in world.named(a)


def test_unknown_tags_are_passed_over():
    assert world.from_tags(["xkj vqz", " Green Eyes "]) == {"eyes": "green"}


def test_a_value_that_does_not_exist_is_refused():
    a = world.sample(random.Random(3))
    values = {field.name: getattr(a, field.name) for field in fields(a)}
    with pytest.raises(ValueError, match="eyes must be one of"):
        world.Attributes(**{**values, "eyes": "plaid"})


def test_every_value_is_drawn():
    rng = random.Random(4)
    drawn = [world.sample(rng) for _ in range(500)]
    for name, values in world.VALUES.items():
        if name != "novel":
            assert {getattr(a, name) for a in drawn} == set(values)
