"""What the buttons of the panel answer, and what an order gets from it."""

import json
import re
from html import unescape
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from distill.hosts.standalone import Standalone
from distill.jobs import Jobs
from distill.options import Options
from distill.plan import Plan, View
from distill.pocket import CHECKPOINT, PORTRAIT
from distill.ui import draft as drafts
from distill.ui import options_form, plan_form, views_panel
from distill.ui.handlers import Handlers
from distill.ui.views_panel import PlanHandlers

FACE = View(name="face", box=(0.25, 0.125, 0.75, 0.625), words=("close-up",))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("lora"), device="cpu"))
    yield jobs
    jobs.close()


@pytest.fixture
def does(jobs):
    return PlanHandlers(jobs)


@pytest.fixture(scope="module")
def portrait():
    with Image.open(PORTRAIT) as image:
        return image.convert("RGBA")


@pytest.fixture(scope="module")
def draft(portrait):
    return drafts.look(portrait, Options().picture, 128)


def values(**changed):
    flat = {**Options().flat(), **changed}
    return [flat[name] for name in options_form.NAMES]


def told(markup):
    return json.loads(unescape(re.search('data-plan="([^"]*)"', markup)[1]))


def test_the_picture_is_shown_to_draw_on(draft):
    shown = told(views_panel.show(draft))
    assert (shown["size"], shown["src"][:23]) == ([128, 128], "data:image/jpeg;base64,")
    assert shown["picture"] == plan_form.mark_of(draft.prepared.picture.image)
    assert told(views_panel.show(None)) == {"picture": ""}


def test_views_are_proposed_by_the_options_or_all(does, draft):
    drawn, said = does.propose(draft, *values(view_min_px=64))
    views = plan_form.read(drawn, "", "", (), plan_form.mark_of(draft.prepared.picture.image)).views
    assert "face" in [view.name for view in views]
    assert "View full body is left out" in said
    chosen, _ = does.propose(draft, *values(view_min_px=64, views="face"))
    assert [view["name"] for view in json.loads(chosen)["views"]] == ["face"]


def test_the_cost_counts_what_is_drawn(jobs, draft):
    def cost(drawn):
        given = values(repeats=10, epochs=2, batch_size=1, repeats_of="picture", views="face")
        return Handlers(jobs).recount("woman", "", draft, *given, drawn, "", "", [])[3]

    assert ">20 steps for each picture and view" in cost("")
    assert ">40 steps at" in cost(plan_form.views_text([FACE]))
    assert ">20 steps for each" in cost("nothing that can be read")  # the order will say so


def test_views_inherit_what_they_can_show():
    drawn = plan_form.views_text([FACE, View(name="x", box=(0, 0, 1, 1), words=("lower body",))])
    answer = told(views_panel.inherited("Red_hair, upper body, boots, smile", drawn))
    assert answer["of"] == "Red_hair, upper body, boots, smile"
    assert answer["views"][0] == "close-up, red hair, boots, smile"
    assert "smile" not in answer["views"][1]
    assert told(views_panel.inherited("a", "{"))["views"] == []


def test_a_proposal_of_nothing_leaves_what_was_drawn(does, draft):
    assert does.propose(draft, *values(view_min_px=320))[0] == gr.update()
    assert "no picture yet" in does.propose(None, *values())[1]
    assert "no view" in does.propose(draft, *values(views="elbow"))[1]


def test_the_mask_that_training_uses_is_shown(does, draft):
    drawn = Image.new("L", (64, 64))
    drawn.paste(255, (0, 0, 32, 64))
    shown, said = does.used_mask(draft, plan_form.mask_text(drawn), *values())
    assert told(shown)["mask"].startswith("data:image/png;base64,")
    shown, said = does.used_mask(draft, "", *values())
    assert ("mask" in told(shown), "No mask is used" in said) == (False, True)
    assert "no mask was drawn" in does.used_mask(draft, "", *values(mask="drawn"))[1]
    transparent = Image.radial_gradient("L").convert("RGBA")
    transparent.putalpha(Image.radial_gradient("L"))
    seen = drafts.look(transparent, Options().picture, 128)
    assert "mask" in told(does.used_mask(seen, "", *values())[0])


def test_pictures_are_added_and_each_bad_one_is_named(does, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    files = [SimpleNamespace(name=str(PORTRAIT)), SimpleNamespace(name=str(bad)), str(PORTRAIT)]
    added, given, said = does.add(files, [], "")
    assert [picture["size"] for picture in told(given)["pictures"]] == [[128, 128]] * 2
    assert "bad.png" in said
    assert "not a picture" in said
    full, _, said = does.add([str(PORTRAIT)] * 6, added, "")
    assert (len(full), "No more pictures fit" in said) == (7, True)
    removed = json.dumps({added[0].id: {"removed": True}})
    assert len(does.add([str(PORTRAIT)], full, removed)[0]) == 8


def test_a_further_picture_is_described(does):
    (added,) = does.add([str(PORTRAIT)], [], "")[0]
    answer, _ = does.describe(added.id, [added], "", *values(captioner="pocket"))
    assert "red hair" in told(answer)["captions"]
    assert told(answer)["id"] == added.id
    answer, said = does.describe("gone", [added], "", *values())
    assert ("captions" in told(answer), "not there any more" in said) == (False, True)


def test_an_order_has_what_was_drawn_and_a_page_loaded_anew_gets_it_back(jobs, does, portrait):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    added = does.add([str(PORTRAIT)], [], "")[0]
    listed = json.dumps({added[0].id: {"captions": "woman, hat", "repeats": 2}})
    drawn = [plan_form.views_text([FACE], repeats=3), plan_form.mask_text(mask), listed, added]
    quick = values(repeats=500, preview=False, sample_every=0)
    assert Handlers(jobs).distill(portrait, "woman", *quick, *drawn) == ""
    job = jobs.latest()
    try:
        ordered = jobs.order(job.id).plan
        again = does.restore()
    finally:
        jobs.discard(job.id)
        jobs.wait(job.id, 60)
    assert (ordered.views, ordered.repeats) == ((FACE,), 3)
    assert ordered.mask.tobytes() == mask.tobytes()
    assert (ordered.more[0].tags, ordered.more[0].plan) == (("woman", "hat"), Plan(repeats=2))
    assert len(told(again[-1])["pictures"]) == 1
    restored = views_panel.plan(portrait, again[:-1])
    assert (restored.views, restored.repeats, restored.more[0].tags) == ((FACE,), 3, ("woman", "hat"))
    assert restored.mask.tobytes() == mask.tobytes()
    assert does.restore() == (gr.update(),) * 5  # nothing is at work any more


def test_what_is_wrong_with_it_is_told_before_anything_begins(jobs, does, portrait):
    before = len(jobs.all())
    order = Handlers(jobs).distill
    mark = "fff"
    elsewhere = plan_form.views_text([FACE], mark)
    assert "another picture" in order(portrait, "a", *values(), elsewhere, "", "", [])
    tiny = plan_form.views_text([View(name="nose", box=(0.4, 0.4, 0.5, 0.5))])
    assert "13 x 13 px" in order(portrait, "a", *values(), tiny, "", "", [])
    added = does.add([str(PORTRAIT)], [], "")[0]
    assert "Picture 2 has no captions" in order(portrait, "a", *values(captioner="none"), "", "", "", added)
    assert len(jobs.all()) == before
