"""What the page holds of views, mask and further pictures, read strictly and given back."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from distill.errors import DistillError
from distill.image.loading import Picture
from distill.plan import Plan, Shot, View
from distill.ui import plan_form
from distill.ui.plan_form import Further

MARK = "abc123"
FACE = View(name="face", box=(0.25, 0.0, 0.75, 0.5), words=("close-up",), repeats=3)
LEGS = View(name="legs", box=(0.0, 0.5, 1.0, 1.0), tags=("boots", "long legs"))


def read(drawn="", mask="", listed="", added=()):
    return plan_form.read(drawn, mask, listed, added, MARK)


def further(edge=64):
    return Further(Picture(Image.new("RGB", (edge, edge)), (), ""))


def mask():
    made = Image.new("L", (64, 48))
    made.paste(255, (0, 0, 20, 48))
    return made


def test_nothing_drawn_leaves_it_to_the_options():
    assert read() == Plan() == read(plan_form.views_text(None))
    assert read(plan_form.views_text([])) == Plan(views=())


def test_views_come_back_as_they_were_given():
    assert read(plan_form.views_text([FACE, LEGS], MARK, repeats=2)) == Plan(views=(FACE, LEGS), repeats=2)


def test_the_page_names_its_views_and_writes_captions_as_text():
    drawn = {"picture": MARK, "views": [{"id": "v1", "box": [0, 0.5, 1, 1], "captions": "Boots, long_legs"}]}
    assert read(json.dumps(drawn)).views == (View(name="view 1", box=(0, 0.5, 1, 1), tags=("boots", "long legs")),)


def test_a_mask_comes_back_as_it_was_painted():
    assert read(mask=plan_form.mask_text(mask())).mask.tobytes() == mask().tobytes()
    assert plan_form.mask_text(None) == ""
    large = mask().resize((2048, 1536))
    small = read(mask=plan_form.mask_text(large)).mask
    assert small.size == (512, 384)
    assert np.abs(np.asarray(small.resize((64, 48)), float) - np.asarray(mask())).mean() < 4


def test_further_pictures_with_what_was_said_of_them():
    first, second, third = further(64), further(65), further(66)
    said = {first.id: {"captions": "hat, smile", "repeats": 4}, second.id: {"removed": True}}
    shots = read(listed=json.dumps(said), added=[first, second, third]).more
    assert [shot.source.size[0] for shot in shots] == [64, 66]  # the last one the page has not told of yet
    assert (shots[0].tags, shots[0].plan.repeats) == (("hat", "smile"), 4)
    assert (shots[1].tags, shots[1].plan.repeats) == (None, 0)
    again = plan_form.listed_text(shots, [first, third])
    assert read(listed=again, added=[first, third]).more == shots


def data_url(data, head="data:image/png;base64,"):
    return head + base64.b64encode(data).decode()


BAD = (
    ({"drawn": "{"}, "views can't be read"),
    ({"drawn": "[" * 100_000}, "views can't be read"),
    ({"drawn": "[]"}, "views can't be read"),
    ({"drawn": '{"path": "/etc"}'}, "views can't be read"),
    ({"drawn": '{"views": "face"}'}, "not a list"),
    ({"drawn": '{"views": [{"box": [0, 0, 1, 1], "source": "x"}]}'}, "unknown parts: source"),
    ({"drawn": '{"views": [{"box": [0, 0, NaN, 1]}]}'}, "something else than numbers"),
    ({"drawn": '{"views": [{"box": [0.4, 0, 0.3, 1]}]}'}, "no size"),
    ({"drawn": '{"views": [{"box": [0, 0, 1, 1], "repeats": true}]}'}, "repeats of True"),
    ({"drawn": '{"repeats": 1001}'}, "repeats of 1001"),
    ({"drawn": '{"picture": "fff", "views": []}'}, "on another picture"),
    ({"mask": "data:image/png;base64,"}, "mask can't be read"),
    ({"mask": data_url(b"no picture")}, "mask can't be read"),
    ({"mask": data_url(b"\xff\xd8", "data:image/jpeg;base64,")}, "mask can't be read"),
    ({"mask": "file:///etc/hostname"}, "mask can't be read"),
    ({"mask": data_url(b"\x89PNG\r\n\x1a\n" + bytes(2**21))}, "mask can't be read"),
    ({"mask": data_url(b"\x89PNG\r\n\x1a\n")}, "not a picture|damaged"),
    ({"mask": plan_form.png_url(Image.new("L", (64, 64)))}, "black all over"),
    ({"mask": plan_form.mask_text(mask()).replace("picture=", "picture=fff")}, "on another picture"),
    ({"listed": "[]"}, "further pictures can't be read"),
    ({"added": [further() for _ in range(8)]}, "8 further pictures"),
)


@pytest.mark.parametrize(("given", "said"), BAD, ids=[said for _, said in BAD])
def test_what_can_not_be_used_is_said(given, said):
    with pytest.raises(DistillError, match=said):
        read(**given)


def test_what_is_said_of_a_further_picture_is_checked():
    one = further()
    for said in ({"path": "/etc"}, {"repeats": 1.5}, {"captions": 3}, 3):
        with pytest.raises(DistillError, match=r"Picture 2|captions are neither"):
            read(listed=json.dumps({one.id: said}), added=[one])


def test_pictures_are_told_apart():
    wide, tall = Image.new("RGB", (40, 32)), Image.new("RGB", (32, 40))
    assert plan_form.mark_of(wide) == plan_form.mark_of(wide.copy()) != plan_form.mark_of(tall)


def test_a_shot_keeps_its_transparency():
    alpha = Image.new("L", (64, 64), 128)
    added = Further(Picture(Image.new("RGB", (64, 64)), (), "", alpha))
    assert read(added=[added]).more == (Shot(source=added.picture.image, plan=Plan(alpha=alpha)),)
