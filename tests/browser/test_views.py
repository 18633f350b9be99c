"""Views, mask and further pictures, drawn as a person does, and what of it reaches the job."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from distill.hosts.standalone import Standalone
from distill.jobs import Jobs
from distill.pocket import CHECKPOINT, PORTRAIT
from distill.ui import draft as drafts
from distill.ui.page import build_page
from tests.browser.conftest import open_tab
from tests.browser.test_serve import CAPTIONS, set_option, text_is, upload

pytestmark = pytest.mark.slow
STAGE = ".distill-stage"
BOX = ".distill-box[data-view]"
CARDS = "#distill_plan_board .distill-card[style]"


class Recorded(Jobs):
    """Real jobs, which keep what was ordered."""

    def submit(self, order):
        self.orders = [*getattr(self, "orders", []), order]
        return super().submit(order)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    made = Recorded(Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("lora"), device="cpu"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(jobs):
    """The page of this process, so that a test sees what it orders."""
    drafts.tokenizer()
    page, for_launch = build_page(jobs)
    page.queue()
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **for_launch)
    yield page.local_url.rstrip("/")
    page.close()


@pytest.fixture
def picture(tmp_path):
    """The demo's portrait, large enough for views."""
    path = tmp_path / "large.png"
    with Image.open(PORTRAIT) as image:
        image.convert("RGB").resize((1024, 1024)).save(path)
    return path


def open_panel(page, picture=PORTRAIT):
    upload(page, picture)
    page.locator(CAPTIONS).fill("woman, red hair")
    inside = page.locator("#distill_plan_add")  # the stage has no size before its picture, open or not
    for _ in range(5):  # a busy page takes a click late, or not yet
        if inside.is_visible():
            break
        page.locator("#distill_plan_panel > button, #distill_plan_panel > .label-wrap").first.click()
        page.wait_for_timeout(1000)
    page.wait_for_selector(f"{STAGE} img", state="visible")
    text_is(page, "#distill_counter", r"^[1-9]\d* / 75")
    page.wait_for_selector("#distill_chips .distill-chip-first")  # nothing above grows any more


def value(page, name):
    return page.input_value(f"#distill_plan_{name} textarea, #distill_plan_{name} input")


def views(page):
    return json.loads(value(page, "views") or "{}").get("views")


def tool(page, label):
    page.locator(f"#distill_plan_board button[aria-label='{label}']").click()


def points(page, *shares):
    """The stage and where those shares of it are on the screen, once nothing on the page moves any more."""
    page.locator(STAGE).scroll_into_view_if_needed()
    box, since = None, 0
    while since < 3:
        page.wait_for_timeout(200)
        before, box = box, page.locator(STAGE).bounding_box()
        since = since + 1 if before == box else 0
    return box, [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]


def drag(page, *shares):
    box, (start, end) = points(page, *shares)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    assert page.locator(STAGE).bounding_box() == box, "the picture moved while it was drawn on"
    page.mouse.up()


def wait(page, script, *args):
    page.wait_for_function(script, arg=list(args))


def move_and_resize(page, n):
    """The n-th view, whose card is chosen so that its box lies on top -> its box."""
    page.locator(CARDS).nth(n).locator(".distill-card-name").click()
    left, upper, right, lower = views(page)[n]["box"]
    middle = (left + right) / 2, (upper + lower) / 2
    drag(page, middle, (middle[0] + 0.05, middle[1] + 0.1))
    moved = views(page)[n]["box"]
    assert moved == pytest.approx([left + 0.05, upper + 0.1, right + 0.05, lower + 0.1], abs=0.01)
    drag(page, (moved[2], moved[3]), (moved[2] + 0.04, moved[3] + 0.02))
    resized = views(page)[n]["box"]
    assert resized == pytest.approx([*moved[:2], moved[2] + 0.04, moved[3] + 0.02], abs=0.01)
    return resized


def rewrite(page, n, other):
    """Other captions for the n-th view; the `other` one goes on to follow the picture's."""
    card = page.locator(CARDS).nth(n)
    text_is(page, "#distill_plan_board .distill-plan-right", r"close-up[^]*red hair")
    card.locator(".distill-add-input").fill("freckles")
    card.locator(".distill-add-input").press("Enter")
    card.locator("[data-tag='red hair'] button").click()
    page.locator(CAPTIONS).fill("woman, red hair, smile")
    wait(page, "([s, n]) => document.querySelectorAll(s)[n].innerText.includes('smile')", CARDS, other)
    assert "smile" not in card.inner_text()
    card.locator("input[type=number]").fill("3")
    card.locator("input[type=number]").press("Tab")


def add_picture(page):
    with page.expect_file_chooser() as chooser:
        page.click("#distill_plan_add")
    chooser.value.set_files([PORTRAIT])
    page.wait_for_selector("#distill_plan_more .distill-card img")


def test_what_is_drawn_is_what_is_trained(page, jobs, picture):
    open_panel(page, picture)
    tool(page, "Propose views")
    page.wait_for_selector(BOX)
    text_is(page, ".distill-plan-left", "Views by")
    proposed = views(page)
    face = next(n for n, view in enumerate(proposed) if view["name"] == "face")
    other = next(n for n in range(len(proposed)) if n != face)
    box = move_and_resize(page, face)
    rewrite(page, face, other)
    page.click("text=Draw the mask")
    drag(page, (0.3, 0.3), (0.6, 0.3))
    text_is(page, "#distill_plan_board", r"The mask covers [34] %")
    add_picture(page)
    page.click("#distill_plan_more button[aria-label='Describe this picture']")
    text_is(page, "#distill_plan_more .distill-card", "earrings")
    text_is(page, "#distill_plan_line", rf"Views: {len(proposed)} · Mask drawn · Further pictures: 1")
    for name, number in (("repeats", 4), ("epochs", 1)):
        set_option(page, "training", name, number)
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-state=done]", timeout=90_000)

    plan = jobs.orders[-1].plan
    assert [view.name for view in plan.views] == [view["name"] for view in proposed]
    assert plan.views[face].box == pytest.approx(box, abs=0.01)
    assert (plan.views[face].tags, plan.views[face].repeats) == (("close-up", "face", "woman", "freckles"), 3)
    assert (plan.views[other].tags, plan.views[other].words) == (None, tuple(proposed[other]["words"]))
    mask = np.asarray(plan.mask, float) / 255
    assert mask.shape == (512, 512)
    assert mask[int(0.3 * 512), int(0.32 * 512) : int(0.58 * 512)].min() > 0.9
    assert (mask[int(0.5 * 512) :].max(), mask[:, int(0.7 * 512) :].max()) == (0, 0)
    assert ("earrings" in plan.more[0].tags, plan.more[0].source.size) == (True, (128, 128))
    assert (jobs.latest().state, jobs.latest().step) == ("done", 2)


def test_without_a_drawing_the_options_decide(page, jobs):
    open_panel(page)
    text_is(page, "#distill_plan_board", "Nothing is drawn: the whole picture only")
    tool(page, "Add a view")
    tool(page, "Remove the view")
    text_is(page, "#distill_plan_board", "No views: the whole picture only")
    assert views(page) == []
    tool(page, "Undo views")
    assert [view["box"] for view in views(page)] == [[0.25, 0.1, 0.75, 0.6]]
    tool(page, "Undo views")
    assert not views(page)
    tool(page, "Redo views")
    assert len(views(page)) == 1


def test_keys_alone(page):
    open_panel(page)
    tool(page, "Add a view")
    box = page.locator(BOX)
    box.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Shift+ArrowDown")
    assert views(page)[0]["box"] == pytest.approx([0.26, 0.098, 0.76, 0.608], abs=1e-4)
    text_is(page, ".distill-plan-live", "26 % from the left, 10 % from above, 64 × 65 px")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    assert views(page)[0]["box"][2] == 1
    page.keyboard.press("Control+z")
    assert views(page)[0]["box"] == [0.25, 0.1, 0.75, 0.6]  # quick moves are one
    page.locator("[data-mode=views][role=radio]").focus()
    page.keyboard.press("ArrowRight")
    tool(page, "Fill the chosen view")
    text_is(page, "#distill_plan_board", "The mask covers 25 %")
    tool(page, "Invert")
    text_is(page, "#distill_plan_board", "The mask covers 75 %")
    page.locator(".distill-mask").focus()
    page.keyboard.press("Control+z")
    text_is(page, "#distill_plan_board", "The mask covers 25 %")
    tool(page, "Show what training uses")
    page.wait_for_selector(".distill-mask-used[src]", state="visible")
    tool(page, "Clear the mask")
    assert value(page, "mask") == ""
    page.locator("[data-mode=mask][role=radio]").focus()
    page.keyboard.press("ArrowLeft")
    box.focus()
    page.keyboard.press("Delete")
    assert views(page) == []


def test_erasing_and_a_drawn_view(page):
    open_panel(page)
    drag(page, (0.2, 0.2), (0.6, 0.7))
    assert views(page)[0]["box"] == pytest.approx([0.2, 0.2, 0.6, 0.7], abs=0.01)
    page.click("text=Draw the mask")
    drag(page, (0.2, 0.5), (0.8, 0.5))
    text_is(page, "#distill_plan_board", r"The mask covers [67] %")
    tool(page, "Erase")
    page.locator("#distill_plan_board input[type=range]").fill("16")
    drag(page, (0.56, 0.5), (0.85, 0.5))
    text_is(page, "#distill_plan_board", r"The mask covers [34] %")
    drag(page, (0.15, 0.5), (0.5, 0.5))
    text_is(page, "#distill_plan_board", "No mask is drawn")
    assert value(page, "mask") == ""


def test_the_picture_stays_where_it_is(page):
    open_panel(page)
    points(page)
    page.evaluate(
        """stage => {
        window.seen = new Set();
        (function look() {
            window.seen.add(Math.round(document.querySelector(stage).getBoundingClientRect().top + window.scrollY));
            requestAnimationFrame(look);
        })();
    }""",
        STAGE,
    )
    drag(page, (0.2, 0.2), (0.6, 0.7))
    text_is(page, "#distill_plan_line", "Views: 1")
    page.click("text=Draw the mask")
    drag(page, (0.2, 0.5), (0.8, 0.5))
    text_is(page, "#distill_plan_line", "Views: 1 · Mask drawn")
    page.wait_for_timeout(1000)  # steps are counted anew meanwhile
    assert len(page.evaluate("[...window.seen]")) == 1


def test_the_line_of_the_checkpoint_stands_from_the_start(page):
    page.add_init_script(
        """window.seen = {}; // by what it says: its height, with all styles
        (function look() {
            const line = document.querySelector("#distill_root #distill_checkpoint");
            const box = line?.getBoundingClientRect();
            if (box?.width) window.seen[line.textContent.trim()] = Math.round(box.height);
            requestAnimationFrame(look);
        })();"""
    )
    page.route("**/queue/join*", lambda route: (time.sleep(1), route.continue_()))  # the server's words come late
    open_tab(page, page.url)
    text_is(page, "#distill_checkpoint", r"Trains on\s+pocket")
    page.wait_for_timeout(300)  # some frames more
    heights = page.evaluate("window.seen")
    assert len(set(heights.values())) == 1, heights
    assert min(heights.values()) > 10


def test_captions_go_back_to_those_of_the_picture(page):
    open_panel(page)
    tool(page, "Add a view")
    card = page.locator(CARDS)
    card.locator("label:has-text('Words') input").fill("close-up")
    text_is(page, CARDS, "close-up")
    undo = card.locator("button[aria-label=Undo]")
    assert undo.is_disabled()
    card.locator("[data-tag='red hair'] button").click()
    assert views(page)[0]["captions"] == "close-up, woman"
    undo.click()
    assert views(page)[0]["captions"] is None
    card.locator("[data-tag='red hair'] button").click()
    card.locator("button[aria-label='As the picture']").click()
    text_is(page, CARDS, "red hair")
    assert (views(page)[0]["captions"], views(page)[0]["words"]) == (None, ["close-up"])


def test_another_picture_has_nothing_drawn_on_it(page, picture, tmp_path):
    open_panel(page)
    tool(page, "Add a view")
    page.click("text=Draw the mask")
    drag(page, (0.3, 0.3), (0.6, 0.3))
    first = page.get_attribute(f"{STAGE} img", "src")
    clear = "#distill_picture button[aria-label=Clear], #distill_picture button[title=Clear]"
    page.locator(f"{clear}, #distill_picture button[aria-label='Remove Image']").first.click()
    page.wait_for_selector(STAGE, state="hidden")
    copy = tmp_path / "copy.png"  # gradio 3 does not take the same file twice
    copy.write_bytes(PORTRAIT.read_bytes())
    upload(page, copy)
    page.wait_for_selector(STAGE)
    assert len(views(page)) == 1  # it is the same picture again
    assert value(page, "mask")
    page.locator(f"{clear}, #distill_picture button[aria-label='Remove Image']").first.click()
    page.wait_for_selector(STAGE, state="hidden")
    upload(page, picture)
    wait(page, "([s, src]) => document.querySelector(s)?.src !== src", f"{STAGE} img", first)
    page.wait_for_selector(STAGE)
    assert not views(page)
    assert value(page, "mask") == ""


def test_a_page_loaded_anew_gets_back_what_was_drawn(page, server, jobs):
    open_panel(page)
    drag(page, (0.2, 0.2), (0.6, 0.7))
    page.click("text=Draw the mask")
    drag(page, (0.2, 0.5), (0.8, 0.5))
    set_option(page, "sampling", "sample_every", 0)
    set_option(page, "training", "epochs", 50)
    text_is(page, "#distill_cost", r"^500 steps")
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-state=running] #distill_loss svg")
    open_tab(page, server)
    text_is(page, "#distill_plan_line", "Views: 1 · Mask drawn")
    jobs.discard(jobs.latest().id)
    jobs.wait(jobs.latest().id, 60)
    assert views(page)[0]["box"] == pytest.approx([0.2, 0.2, 0.6, 0.7], abs=0.01)
    open_panel(page)  # the same picture
    page.wait_for_timeout(1000)
    assert len(views(page)) == 1


def test_a_finger_moves_a_box(page):
    open_panel(page)
    tool(page, "Add a view")
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def send(kind, *at):
        touch.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y, "id": 1} for x, y in at]}
        )

    _, (start, middle, end) = points(page, (0.5, 0.4), (0.4, 0.5), (0.3, 0.6))
    send("touchStart", start)
    send("touchMove", middle)
    send("touchMove", end)
    send("touchEnd")
    assert views(page)[0]["box"] == pytest.approx([0.05, 0.3, 0.55, 0.8], abs=0.01)


def test_what_is_wrong_is_said(page, jobs):
    open_panel(page)
    before = len(jobs.all())
    tool(page, "Propose views")
    text_is(page, ".distill-plan-left", "the smallest view is 320 px")
    page.evaluate(
        "window.distill.write(window.distill.field('distill_plan_views'), '{\"views\": [{\"box\": [0, 0, 2, 2]}]}')"
    )
    page.click("#distill_go")
    text_is(page, "#distill_message", "not inside the picture")
    assert len(jobs.all()) == before


def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 420, "height": 844})
    open_panel(page)
    tool(page, "Add a view")
    add_picture(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
