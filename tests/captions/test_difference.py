"""A captioner's words beside a person's."""

import pytest

from distill.captions.difference import difference


def test_new_same_and_missing_in_their_own_order():
    found = difference(["my scarf", "red hair", "smile"], ["woman", "smile", "green eyes", "red hair"])
    assert found.new == ("woman", "green eyes")
    assert found.same == ("smile", "red hair")
    assert found.missing == ("my scarf",)


@pytest.mark.parametrize("written", ["red hair", "Red_Hair", "(red hair:1.2)", "red-hair", " red  hair."])
def test_equal_words_are_the_same_tag(written):
    found = difference([written], ["red hair"])
    assert found.is_empty
    assert found.same == ("red hair",)


def test_a_tag_said_twice_counts_once():
    found = difference(["hat", "hat"], ["tree", "tree", "hat"])
    assert (found.new, found.same, found.missing) == (("tree",), ("hat",), ())


def test_nothing_on_one_side():
    assert difference([], ["hat"]).new == ("hat",)
    assert difference(["hat"], []).missing == ("hat",)
    assert difference([], []).is_empty


def test_a_part_of_a_tag_is_another_tag():
    assert difference(["hat"], ["red hat"]).new == ("red hat",)
