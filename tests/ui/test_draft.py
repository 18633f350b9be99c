"""What a person sees of the captions before anything is trained."""

import pytest
from PIL import Image

from distill.errors import CaptionError
from distill.options import Options, PictureOptions
from distill.pocket import PORTRAIT
from distill.ui import draft as drafts

PICTURE = PictureOptions()


@pytest.fixture(scope="module")
def looked():
    with Image.open(PORTRAIT) as image:
        return drafts.look(image.convert("RGBA"), PICTURE, 128)


def test_trigger_and_class_are_counted_and_come_first(looked):
    count = drafts.count("woman, red hair", looked, Options())
    assert count.tags[0].endswith(" woman")
    assert count.tags[1:] == ("red hair",)
    assert count.used == 6  # two rare words, woman, the comma, red, hair
    assert count.name == "_".join(count.tags[0].split()[:2])


def test_own_trigger_and_name_are_taken(looked):
    options = Options.from_flat({"trigger": "zor fip", "name": "mine"})
    count = drafts.count("red hair", looked, options)
    assert (count.tags[0], count.name) == ("zor fip person", "mine")


def test_what_is_not_read_is_named(looked):
    words = ", ".join(f"thing number {i} of many" for i in range(30))
    count = drafts.count(words, looked, Options())
    assert count.used > 75
    assert count.cut in count.tags
    assert any("ignored" in note for note in count.notes)


def test_without_a_picture_the_words_are_counted_all_the_same():
    count = drafts.count("red hair, blue eyes", None, Options())
    assert (count.used, count.name) == (5, "")
    assert drafts.count("", None, Options()).used == 0


def test_a_comma_in_the_trigger_is_refused(looked):
    with pytest.raises(CaptionError, match="comma"):
        drafts.count("red hair", looked, Options.from_flat({"trigger": "a, b"}))


def test_same_settings_are_not_worked_out_again(looked):
    assert drafts.looked_again(looked, PICTURE, 128) is looked
    other = drafts.looked_again(looked, PictureOptions(resolution=64), 128)
    assert other.prepared.image.size == (64, 64)
    assert other.prepared.picture is looked.prepared.picture
