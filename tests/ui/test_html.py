"""Texts as HTML: nothing that a person typed becomes markup."""

import json
import re
from html import unescape

from PIL import Image

from distill.ui import html

EVIL = '<img src=x onerror="alert(1)">'


def test_everything_is_escaped():
    made = [
        html.notes([EVIL]),
        html.problem(EVIL, EVIL),
        html.checkpoint(EVIL, ""),
        html.checkpoint("", EVIL),
        html.counter(1, 75, {"first": EVIL, "tags": [{"tag": EVIL}]}),
        html.editor(EVIL, EVIL),
        html.vocabulary({EVIL: [EVIL]}),
        html.described("", [EVIL]),
        html.cost(EVIL),
        html.status(EVIL, [EVIL]),
        html.cut_off([EVIL]),
        html.state({"text": EVIL}),
        html.strip([(EVIL, [EVIL, EVIL], None)], EVIL),
        html.choices([EVIL]),
    ]
    assert not [text for text in made if EVIL in text or "<img" in text]


def test_nothing_to_say_is_nothing():
    assert (html.notes([]), html.problem(""), html.banner(""), html.cut_off([]), html.strip([], "")) == ("",) * 5


def test_state_is_read_back_as_it_was():
    values = {"text": 'a "quoted" <tag> & more', "size": [64, 96]}
    attribute = re.search('data-distill="([^"]*)"', html.state(values))[1]
    assert json.loads(unescape(attribute)) == values


def test_a_tile_shows_a_small_copy(tmp_path):
    path = tmp_path / "a.preview.png"
    Image.new("RGB", (900, 600), "red").save(path)
    tile = html.strip([("a", ["Epoch 1"], path)], "a")
    assert 'src="data:image/webp;base64,' in tile
    assert len(tile) < 4000


def test_a_new_picture_of_the_same_name_is_shown(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(path)
    before = html.thumbnail(path, 1)
    Image.new("RGB", (64, 64), "blue").save(path)
    assert html.thumbnail(path, 1) == before
    assert html.thumbnail(path, 2) != before


def test_a_missing_or_broken_picture_is_no_tile_s_end(tmp_path):
    broken = tmp_path / "b.png"
    broken.write_bytes(b"\x89PNG but not really")
    for path in (None, tmp_path / "gone.png", broken):
        assert "no picture" in html.strip([("a", ["Epoch 1"], path)], "a")


def test_a_checkpoint_s_problem_stands_in_place_of_its_name():
    assert "Trains on" not in html.checkpoint("x", "It is SDXL.")
    assert "It is SDXL." in html.checkpoint("x", "It is SDXL.")
