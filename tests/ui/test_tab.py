"""The tab as a whole: what a WebUI's config file and translations hang on, and what its buttons do."""

import json
import re
from collections import Counter
from html import unescape

import gradio as gr
import pytest
from PIL import Image

from distill.errors import PictureError
from distill.hosts.standalone import Standalone
from distill.jobs import Jobs, Order
from distill.options import Options
from distill.pocket import CHECKPOINT, PORTRAIT
from distill.ui import options_form
from distill.ui.handlers import Handlers
from distill.ui.tab import build


class Everything:
    """Surroundings with all tabs, which note what is asked of them."""

    name, tabs, banner = "test", ("txt2img", "img2img", "inpaint"), ""

    def __init__(self):
        self.sends = []

    def default(self, name):
        return None

    def bind_picture(self, image, last=None):
        self.bound = (image.elem_id, last.elem_id)

    def send_picture(self, button, tab, image):
        self.sends.append((button.elem_id, tab, image.elem_id))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("lora"), device="cpu"))
    yield jobs
    jobs.close()


@pytest.fixture(scope="module")
def around():
    return Everything()


@pytest.fixture(scope="module")
def components(jobs, around):
    return [block for block in build(jobs, around).blocks.values() if not isinstance(block, gr.State)]


@pytest.fixture
def handlers(jobs):
    return Handlers(jobs)


VALUES = [Options().flat()[name] for name in options_form.NAMES]


def portrait():
    with Image.open(PORTRAIT) as image:
        return image.convert("RGBA")


def test_labels_are_unique(components):
    labels = [c.label for c in components if getattr(c, "label", None) and not isinstance(c, (gr.Accordion, gr.HTML))]
    assert [label for label, times in Counter(labels).items() if times > 1] == []


def test_ids_are_ours_and_unique(components):
    ids = [c.elem_id for c in components if c.elem_id]
    assert all(elem_id.startswith("distill_") for elem_id in ids)
    assert [elem_id for elem_id, times in Counter(ids).items() if times > 1] == []


def test_the_surroundings_are_asked_to_connect(components, around):
    assert around.bound == ("distill_picture", "distill_last")
    assert around.sends == [(f"distill_use_{tab}", tab, "distill_picture") for tab in ("img2img", "inpaint")]


def test_a_picture_is_looked_at(handlers):
    draft, notes = handlers.look(portrait(), *VALUES)
    assert draft.prepared.image.size == (128, 128)
    assert "enlarged" not in notes
    assert handlers.look(None, *VALUES) == (None, "")


def test_a_bad_picture_is_answered_wherever_it_is_given(handlers):
    bad = PictureError("This file is not a picture.", "Take another.")
    assert "Take another." in handlers.look(bad, *VALUES)[1]
    assert "Take another." in handlers.describe(bad, "", *VALUES)[1]
    assert "Take another." in handlers.distill(bad, "", *VALUES)
    assert "no picture yet" in handlers.distill(None, "", *VALUES)


@pytest.mark.parametrize(
    ("box", "proposed", "filled"),
    [("", "", True), ("  ", "", True), ("old", "old", True), ("old", "", False), ("mine, old", "old", False)],
)
def test_a_proposal_goes_into_a_box_that_nobody_wrote_in(handlers, box, proposed, filled):
    captions, proposal, noted = handlers.settle(box, "new", proposed)
    assert (captions == "new") is filled
    assert proposal == ("" if filled else gr.update())
    assert noted == ("new" if filled else proposed)


def test_a_proposal_that_says_the_same_is_not_shown(handlers):
    assert handlers.settle("red hair, Smile", "smile, red_hair", "") == (gr.update(), "", "")


def told(counter):
    return json.loads(unescape(re.search('data-captions="([^"]*)"', counter)[1]))


def test_chips_are_told_what_they_show(handlers):
    draft, _ = handlers.look(portrait(), *VALUES)
    locked = VALUES[:]
    locked[options_form.NAMES.index("identity")] = "locked"
    _, counter, remarks, *_ = handlers.recount("woman, Red_Hair, two men, watermark", "red hair, smile", draft, *locked)
    said = told(counter)
    assert said["first"].endswith(" person")
    assert (said["locked"], said["picture"], said["cut"]) == (True, draft.mark, "")
    assert said["difference"]["new"] == ["smile"]
    facts = {fact.pop("tag"): fact for fact in said["tags"]}
    assert facts["red hair"] == {"group": "hair", "identity": True, "several": False, "in_first": False}
    assert (facts["two men"]["several"], facts["watermark"]["group"]) == (True, "artifacts")
    assert (facts["woman"]["in_first"], facts["smile"]["in_first"]) == (True, False)
    assert "more than one person" in remarks
    assert told(handlers.recount("a", "", None, *VALUES)[1])["difference"] is None


def test_another_picture_has_another_mark(handlers):
    marks = {handlers.look(portrait(), *VALUES)[0].mark for _ in range(2)}
    assert len(marks) == 2


def test_a_broken_option_is_named_in_place_of_the_cost(handlers):
    broken = VALUES[:]
    broken[options_form.NAMES.index("network_dim")] = None
    assert "Rank is empty" in handlers.recount("a", "", None, *broken)[3]
    assert "Rank is empty" in handlers.distill(portrait(), "a", *broken)


def test_a_tick_sends_only_what_changed(handlers):
    marks, state, *first = handlers.tick({})
    again, _, *second = handlers.tick(marks)
    assert again == marks
    assert "data-distill" in state
    assert first[3] != gr.update()  # the checkpoint's line
    assert second == [gr.update()] * len(second)


def test_a_page_loaded_anew_gets_the_picture_and_captions_of_the_job(handlers, jobs):
    options = Options.from_flat({"repeats": 500, "preview": False, "sample_every": 0})
    with Image.open(PORTRAIT) as image:
        job = jobs.submit(Order(picture=image, tags=("woman", "red hair"), options=options))
    try:
        picture, captions = handlers.restore()
    finally:
        jobs.discard(job.id)
        jobs.wait(job.id, 60)
    assert captions == "woman, red hair"
    with Image.open(PORTRAIT) as image:
        assert picture.tobytes() == image.convert(picture.mode).tobytes()
