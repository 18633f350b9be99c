"""The chips over the captions, with mouse, finger and keyboard; the textbox has always the last word."""

import pytest

from tests.browser.conftest import box_of, open_tab
from tests.browser.test_serve import CAPTIONS, text_is, upload, value_is

pytestmark = pytest.mark.slow  # a server and a browser of their own; test_serve has some of it every time

EDITOR = "#distill_chips"
ADD = f"{EDITOR} .distill-add-input"
OFFERED = "#distill_proposal_chips .distill-chip"


def chip(page, tag, editor=EDITOR):
    return page.locator(f'{editor} .distill-chip[data-tag="{tag}"]')


def write(page, text):
    """As a person would, and wait until the server has told of it."""
    page.locator(CAPTIONS).fill(text)
    page.wait_for_function(
        "(last) => document.querySelector('#distill_counter [data-captions]').dataset.captions.includes(last)",
        arg=text.split(", ")[-1],
    )


def is_now(page, text):
    page.wait_for_function("([s, t]) => document.querySelector(s)?.value === t", arg=[CAPTIONS, text])


def shown(page):
    return [row.get_attribute("data-tag") for row in page.locator(f"{EDITOR} [data-index]").all()]


def middle(page, tag, editor=EDITOR, share=0.25):
    box = box_of(page, chip(page, tag, editor))
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def drag(page, what, to, editor=EDITOR):
    """The tag `what` to the front of the tag `to`, once nothing on the page moves any more."""
    places = None
    while places != (places := (middle(page, what, editor), middle(page, to))):
        page.wait_for_timeout(200)
    start, end = places
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(end[0] + 20, end[1], steps=3)
    page.mouse.move(*end)
    page.wait_for_selector(f"{EDITOR} .distill-mark")
    page.mouse.up()


def test_mouse(page):
    write(page, "red hair, green eyes, blue hat, watermark")
    text_is(page, EDITOR, r"Hair\s+red hair\s[^]*Eyes\s+green eyes\s[^]*Accessories\s+blue hat\s[^]*Artifacts")
    page.wait_for_selector(f"{EDITOR} [data-tag=watermark][title*='left out']")

    drag(page, "blue hat", "red hair")
    is_now(page, "blue hat, red hair, green eyes, watermark")
    chip(page, "red hair").dblclick()
    page.keyboard.type("long blonde hair")
    page.keyboard.press("Enter")
    is_now(page, "blue hat, long blonde hair, green eyes, watermark")
    page.click(f"{EDITOR} button[aria-label='Remove watermark']")
    is_now(page, "blue hat, long blonde hair, green eyes")
    page.click(f"{EDITOR} button:has-text('Sort by group')")
    is_now(page, "long blonde hair, green eyes, blue hat")
    for _ in range(4):
        page.click(f"{EDITOR} button[aria-label=Undo]")
    is_now(page, "red hair, green eyes, blue hat, watermark")
    for _ in range(4):
        page.click(f"{EDITOR} button[aria-label=Redo]")
    is_now(page, "long blonde hair, green eyes, blue hat")

    page.click(ADD)
    page.keyboard.type("freck")
    page.wait_for_selector("[role=option]:has-text('freckles')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("my words,and mine")
    page.click(CAPTIONS)  # what was begun is not lost
    is_now(page, "long blonde hair, green eyes, blue hat, freckles, my words, and mine")


def test_keyboard_alone(page):
    write(page, "red hair, green eyes, blue hat")
    focused = "document.activeElement.dataset.tag || document.activeElement.className"
    chip(page, "red hair").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "green eyes"
    page.keyboard.press("Alt+ArrowRight")
    is_now(page, "red hair, blue hat, green eyes")
    assert page.evaluate(focused) == "green eyes"
    text_is(page, f"{EDITOR} [aria-live]", "green eyes moved to 3 of 3")
    page.keyboard.press("Home")
    page.keyboard.press("F2")
    page.keyboard.type("nothing of this")
    page.keyboard.press("Escape")
    is_now(page, "red hair, blue hat, green eyes")
    assert page.evaluate(focused) == "red hair"
    page.keyboard.press("Delete")
    is_now(page, "blue hat, green eyes")
    assert page.evaluate(focused) == "blue hat"
    page.keyboard.press("s")
    page.keyboard.type("mile")
    page.keyboard.press("Enter")
    is_now(page, "blue hat, green eyes, smile")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    is_now(page, "red hair, blue hat, green eyes")
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+y")
    is_now(page, "blue hat, green eyes, smile")


def test_undo_never_loses_what_was_typed(page):
    write(page, "typed first")
    page.wait_for_timeout(1300)  # typing after a pause is a change of its own
    page.locator(CAPTIONS).press_sequentially(", typed then")
    page.click(f"{EDITOR} button[aria-label=Undo]")
    is_now(page, "typed first")
    page.fill(ADD, "added")
    page.press(ADD, "Enter")
    is_now(page, "typed first, added")
    seen = set()
    while page.locator(f"{EDITOR} button[aria-label=Undo]").is_enabled():
        page.click(f"{EDITOR} button[aria-label=Undo]")
        seen.add(page.input_value(CAPTIONS))
    assert seen == {"typed first", "typed first, typed then", ""}
    page.click(f"{EDITOR} button[aria-label=Redo]")
    page.focus(CAPTIONS)
    page.keyboard.press("Control+z")  # in the box, too, it takes back what the chips did
    is_now(page, "")


def test_a_new_description_stands_beside_what_was_written(page):
    upload(page)
    write(page, "my own words, red_hair, green eyes")
    page.click("#distill_describe")
    page.wait_for_selector("#distill_proposal_box", state="visible")
    text_is(page, "#distill_said", "Captions by pocket")
    text_is(
        page, "#distill_proposal_chips", "1 the same, 2 only in yours[^]*Only in yours, and it stays[^]*my own words"
    )
    assert page.locator(f"{OFFERED}-same").all_inner_texts()[-1] == "green eyes"
    chip(page, "smile", "#distill_proposal_chips").locator("button").click()
    is_now(page, "my own words, red_hair, green eyes, smile")
    text_is(page, "#distill_proposal_chips", "2 the same")
    drag(page, "earrings", "red_hair", "#distill_proposal_chips")
    is_now(page, "my own words, earrings, red_hair, green eyes, smile")
    text_is(page, "#distill_proposal_chips", "3 the same")
    page.click("#distill_take_all")
    value_is(page, CAPTIONS, "^my own words, earrings, red_hair, .*yellow background")
    text_is(page, "#distill_proposal_chips", "Proposed: 0 new")
    page.click("#distill_use_proposal")
    value_is(page, CAPTIONS, "^woman, long red hair")
    page.wait_for_selector("#distill_proposal_box", state="hidden")
    page.click(f"{EDITOR} button[aria-label=Undo]")
    value_is(page, CAPTIONS, "^my own words, earrings")


def test_a_dismissed_proposal_changes_nothing(page):
    upload(page)
    write(page, "my own words")
    page.click("#distill_describe")
    page.wait_for_selector("#distill_proposal_box", state="visible")
    page.click("#distill_dismiss_proposal")
    page.wait_for_selector("#distill_proposal_box", state="hidden")
    is_now(page, "my own words")


def test_locked_identity_is_shown_and_the_text_keeps_it(page):
    upload(page)
    write(page, "red hair, blue hat")
    text_is(page, "#distill_counter", "^9 / 75")  # two rare words and the class, two tags of two words, two commas
    page.locator("#distill_identity label", has_text="lock it").click()
    page.wait_for_selector(f"{EDITOR} .distill-chip-held")
    assert [row.get_attribute("data-tag") for row in page.locator(f"{EDITOR} .distill-chip-held").all()] == ["red hair"]
    assert "left out" in chip(page, "red hair").get_attribute("title")  # of the training captions
    text_is(page, "#distill_counter", "^6 / 75")
    is_now(page, "red hair, blue hat")
    page.locator("#distill_identity label", has_text="keep it").click()
    page.wait_for_selector(f"{EDITOR} .distill-chip-held", state="detached")


def test_the_first_chip_stays_and_says_why(page):
    upload(page)
    write(page, "red hair, blue hat")
    first = page.locator(f"{EDITOR} .distill-chip-first")
    first.wait_for()
    drag(page, "blue hat", "red hair")
    is_now(page, "blue hat, red hair")
    box = box_of(page, first)
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(*middle(page, "red hair"), steps=4)
    assert page.locator(f"{EDITOR} .distill-mark").count() == 0
    page.mouse.up()
    first.focus()
    page.keyboard.press("Delete")
    text_is(page, f"{EDITOR} [aria-live]", "always first")
    is_now(page, "blue hat, red hair")


def test_the_cut_is_a_line(page):
    words = [f"thing number {i} here" for i in range(25)]
    write(page, ", ".join(words))
    page.wait_for_selector(f"{EDITOR} .distill-cut")
    cut = page.locator(f"{EDITOR} .distill-chip-cut").all()
    assert 0 < len(cut) < 25
    assert cut[0].get_attribute("data-tag") in page.inner_text("#distill_remarks")
    assert shown(page) == words


def test_a_finger_drags_after_resting(page):
    write(page, "red hair, green eyes, blue hat")
    start, end = middle(page, "blue hat"), middle(page, "red hair")
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def send(kind, at=None):
        points = [{"x": at[0], "y": at[1], "id": 1}] if at else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", start)
    page.wait_for_selector(f"{EDITOR} .distill-chip-ghost")
    send("touchMove", (end[0] + 10, end[1]))
    send("touchMove", end)
    page.wait_for_selector(f"{EDITOR} .distill-mark")
    send("touchEnd")
    is_now(page, "blue hat, red hair, green eyes")


def test_typing_in_the_box_is_live_and_an_edit_survives_it(page):
    write(page, "red hair, blue hat")
    chip(page, "blue hat").dblclick()
    page.keyboard.type("red hat")
    page.evaluate(
        """([selector, text]) => {
            const box = document.querySelector(selector);
            box.value = text;
            box.dispatchEvent(new Event("input", {bubbles: true}));
        }""",
        [CAPTIONS, "smile, blue hat, red hair"],
    )
    page.keyboard.press("Enter")
    is_now(page, "smile, red hat, red hair")
    assert shown(page) == ["smile", "red hat", "red hair"]


def test_on_a_phone_in_the_dark(page, server):
    page.set_viewport_size({"width": 400, "height": 800})
    open_tab(page, f"{server}?__theme=dark")
    upload(page)
    write(page, "red hair, a very long tag that takes more than a whole line of the phone, blue hat")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    size = box_of(page, chip(page, "blue hat").locator("button"))
    assert min(size["width"], size["height"]) >= 24
