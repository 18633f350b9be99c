"""Which tags are proposed, from what was seen where."""

import pytest

from distill.captions.unnamed import FORGOTTEN, Pair, Shown, forgotten, is_proposed, unheard, unnamed

CAPTIONS = ("red hair", "blue sweater", "yellow background")
SEEN = ("long red hair", "green eyes", "blue sweater", "window", "holding red apple", "yellow background")


def shown(*with_lora, without=((), ()), picture=SEEN):
    return Shown(picture, (Pair(tuple(with_lora), without),))


def test_what_the_lora_brings_and_no_caption_names_is_proposed_in_the_pictures_words():
    both = shown(("window", "red apple", "smile"), ("window", "apple", "knitted sweater"))
    assert unnamed(CAPTIONS, both) == ("window", "holding red apple")


def test_nothing_when_captions_name_it_all():
    everything = shown(SEEN, SEEN)
    assert unnamed((*CAPTIONS, "green eyes", "window", "red apple"), everything) == ()
    assert unnamed((*CAPTIONS, "green eyes", "brick window", "holding red apple"), everything) == ()


@pytest.mark.parametrize(
    ("with_lora", "without"),
    [
        ((("window",), ()), ((), ())),  # one of two is chance
        ((("window",), ("window",)), (("window",), ("window",))),  # the checkpoint's own
        ((("tree",), ("tree",)), ((), ())),  # not in the training picture
        (((), ()), ((), ())),
    ],
)
def test_what_did_not_come_from_the_picture_is_not_proposed(with_lora, without):
    assert unnamed(CAPTIONS, shown(*with_lora, without=without)) == ()


def test_any_prompt_may_bring_it():
    pairs = (Pair(((), ()), ((), ())), Pair((("window",), ("window",)), ((), ("window",))))
    assert unnamed(CAPTIONS, Shown(SEEN, pairs)) == ("window",)


def test_the_fuller_words_are_proposed_once():
    assert unnamed((), shown(("red hat",), ("hat",), picture=("hat", "red hat"))) == ("red hat",)


def test_identity_is_meant_to_be_there_unless_captions_name_its_kind():
    pictures = (("green eyes", "freckles"), ("green eyes", "freckles"))
    seen = shown(*pictures, picture=("green eyes", "freckles"))
    assert unnamed(("red hair", "window"), seen) == ()
    assert unnamed(("red hair", "scar on cheek"), seen) == ("freckles",)


@pytest.mark.parametrize("tag", ["woman", "1girl", "solo", "young man"])
def test_the_class_is_no_caption_that_is_missing(tag):
    assert not is_proposed(tag, CAPTIONS)


def test_what_was_not_said_of_the_picture_is_asked_about_once_more():
    seen = shown(("text", "window", "red hair"), ("text", "window"), picture=("red hair", "windows, text on a shirt"))
    assert unheard(CAPTIONS, seen) == ("window",)
    assert unheard((*CAPTIONS, "window"), seen) == ()


def test_forgotten_things_leave_out_what_is_named_in_other_words():
    assert forgotten(()) == tuple(FORGOTTEN)
    left = forgotten(("red beanie", "holding red apple", "brick wall", "Sunglasses", "speech bubble", "red choker"))
    assert not {"hat", "holding something", "plain background", "glasses", "text", "necklace"} & set(left)
    assert {"watermark", "window", "earrings", "jewelry"} <= set(left)
