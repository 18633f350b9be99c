"""The whole story, clicked: picture, captions, Distill, epochs, use, generate."""

import re

import pytest

from distill.pocket import PORTRAIT
from tests.browser.conftest import box_of, open_tab

CAPTIONS = "#distill_captions textarea"
PROMPT = "#txt2img_prompt textarea"
CHIPS = "#distill_chips .distill-chip"
POLLING_MS = 50  # asked in every frame, a page this large has time for little else


def value_is(page, selector, test):
    question = "([s, t]) => new RegExp(t).test(document.querySelector(s)?.value)"
    page.wait_for_function(question, arg=[selector, test], polling=POLLING_MS)


def text_is(page, selector, test):
    question = "([s, t]) => new RegExp(t).test(document.querySelector(s)?.innerText)"
    try:
        page.wait_for_function(question, arg=[selector, test], polling=POLLING_MS)
    except Exception as error:
        shown = page.evaluate("s => document.querySelector(s)?.innerText", selector)
        raise AssertionError(f"{selector} shows {shown!r}, not {test!r}") from error


def upload(page, file=PORTRAIT):
    page.set_input_files("#distill_picture input[type=file]", file)
    page.wait_for_selector("#distill_picture img")


def set_option(page, group, name, value):
    """In its accordion; sliders have a field for numbers too."""
    field = page.locator(f"#distill_{name} input[type=number]")
    if not field.is_visible():
        page.locator(f"#distill_group_{group} > button, #distill_group_{group} > .label-wrap").first.click()
        page.wait_for_timeout(800)  # a slider that is still being unfolded does not take the number
    field.fill(str(value))
    field.press("Tab")


def describe(page):
    upload(page)
    page.click("#distill_describe")
    value_is(page, CAPTIONS, "red hair")


def generate(page):
    """The picture's bytes, as the page shows it."""
    before = page.evaluate("document.querySelector('#txt2img_gallery img')?.getAttribute('src') || ''")
    page.click("#txt2img_generate")
    page.wait_for_function(
        "(before) => (document.querySelector('#txt2img_gallery img')?.getAttribute('src') || before) !== before",
        arg=before,
        polling=POLLING_MS,
    )
    return page.evaluate("""async () => {
        const answer = await fetch(document.querySelector('#txt2img_gallery img').src);
        return Array.from(new Uint8Array(await answer.arrayBuffer()));
    }""")


def test_story(page):
    describe(page)
    text_is(page, "#distill_counter", r"29 / 75 tokens")
    text_is(page, f"{CHIPS}-first", r"^\w+ \w+ woman$")
    first = page.locator(CHIPS).first.inner_text()

    page.click(f"{CHIPS} button[aria-label='Remove earrings']")
    value_is(page, CAPTIONS, r"^(?!.*earrings)")
    text_is(page, "#distill_counter", r"27 / 75 tokens")
    page.locator(CAPTIONS).fill(page.input_value(CAPTIONS) + ", freckles")
    text_is(page, "#distill_chips", "freckles")

    for name, number in (("repeats", 2), ("epochs", 2)):
        set_option(page, "training", name, number)
    set_option(page, "sampling", "sample_steps", 2)
    text_is(page, "#distill_cost", r"^2 steps")
    page.click("#distill_go")
    page.wait_for_selector("#distill_progress .distill-bar")
    page.wait_for_selector("#distill_loss svg")
    page.wait_for_selector("#distill_root[data-state=done]")
    page.wait_for_function("document.querySelectorAll('#distill_strip [role=radio] img').length === 2")

    lora = "_".join(first.split()[:2])
    value_is(page, "#distill_prompt textarea", rf"^{first}, .*freckles, <lora:{lora}:0.6>$")
    page.click("#distill_strip [role=radio] >> nth=0")
    value_is(page, "#distill_prompt textarea", rf"<lora:{lora}-000001:0.6>$")
    page.click("#distill_weight_marks button >> nth=3")
    value_is(page, "#distill_prompt textarea", rf"<lora:{lora}-000001:1>$")

    write_into(page, PROMPT, "mine first, ")
    write_into(page, "#txt2img_neg_prompt textarea", "blurry")
    page.click("#distill_use_txt2img")
    page.wait_for_selector("#txt2img_generate", state="visible")
    value_is(page, PROMPT, rf"^mine first, {first}, .*<lora:{lora}-000001:1>$")
    assert page.input_value("#txt2img_neg_prompt textarea") == "blurry"
    assert page.input_value("#txt2img_width input[type=number]") == "128"

    page.locator(PROMPT).fill(page.input_value(PROMPT) + ", mine last")
    page.evaluate("switch_to_distill()")
    page.click("#distill_strip [role=radio] >> nth=1")
    value_is(page, "#distill_prompt textarea", rf"<lora:{lora}:1>$")
    page.click("#distill_use_txt2img")
    value_is(page, PROMPT, rf"^mine first, {first}, .*<lora:{lora}:1>, mine last$")
    assert page.input_value(PROMPT).count("<lora:") == 1
    text_is(page, "#txt2img_library", lora)

    set_number(page, "#txt2img_steps", 2)
    with_lora = generate(page)
    page.locator(PROMPT).fill(re.sub(r", <lora:.*?>", "", page.input_value(PROMPT)))
    assert generate(page) != with_lora
    page.click("#txt2img_send_to_distill")
    page.wait_for_selector("#distill_go", state="visible")


def write_into(page, selector, text):
    """Into a field of a tab that is not open."""
    page.evaluate(
        """([selector, text]) => {
            const field = document.querySelector(selector);
            field.value = text;
            field.dispatchEvent(new Event("input", {bubbles: true}));
        }""",
        [selector, text],
    )


def set_number(page, selector, number):
    page.locator(f"{selector} input[type=number]").fill(str(number))
    page.locator(f"{selector} input[type=number]").press("Tab")


@pytest.mark.slow
def test_a_reloaded_page_finds_the_running_job_and_stop_keeps(page, server):
    upload(page)
    page.locator(CAPTIONS).fill("woman, red hair")
    set_option(page, "sampling", "sample_every", 0)
    set_option(page, "sampling", "sample_steps", 4)
    for _ in range(3):  # a slider that is just being unfolded may not take the number
        set_option(page, "training", "epochs", 50)
        page.wait_for_timeout(3000)
        if page.inner_text("#distill_cost").startswith("500 steps"):
            break
    text_is(page, "#distill_cost", r"^500 steps")
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-state=running] #distill_loss svg")  # the line of before may stand yet
    open_tab(page, server)
    page.wait_for_selector("#distill_root[data-state=running] #distill_loss svg")
    text_is(page, "#distill_status", r"Step \d+ of 500")
    value_is(page, CAPTIONS, "^woman, red hair$")
    page.wait_for_selector("#distill_picture img")
    assert page.locator("#distill_go").is_disabled()
    page.click("#distill_stop")
    page.wait_for_selector("#distill_root[data-state=stopped]")
    value_is(page, "#distill_prompt textarea", r"<lora:\w+(-2)?:0.6>$")
    page.wait_for_selector("#distill_go:not([disabled])")


@pytest.mark.slow
def test_discard_asks_first_and_deletes(page):
    upload(page)
    page.locator(CAPTIONS).fill("woman, red hair")
    set_option(page, "training", "epochs", 50)
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-state=running] #distill_loss svg")  # the line of before may stand yet
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("#distill_discard_ask")
    assert page.get_attribute("#distill_root", "data-state") == "running"
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#distill_discard_ask")
    page.wait_for_selector("#distill_root[data-state=discarded]")
    assert not page.locator("#distill_after").is_visible()


@pytest.mark.slow
def test_what_is_wrong_is_said_in_words(page, server, tmp_path):
    page.click("#distill_go")
    text_is(page, "#distill_message", "no picture yet")
    page.locator("#distill_url input, #distill_url textarea").fill(f"{server}/picture.png")
    page.click("#distill_load")
    text_is(page, "#distill_notes", "own network")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no picture")
    page.set_input_files("#distill_picture input[type=file]", bad)
    text_is(page, "#distill_notes", "not a picture that can be read")


@pytest.mark.slow
def test_a_goal_fills_the_options_and_the_cost(page):
    page.locator("#distill_goal label", has_text="Replicate").click()
    text_is(page, "#distill_cost", r"^100 steps")
    text_is(page, "#distill_goal_help", "full weight")
    page.locator("#distill_goal label", has_text="Flexible").click()
    text_is(page, "#distill_cost", r"^60 steps")


MERGES = (
    ("", "", "a, <lora:n:1>"),
    ("mine", "", "mine, a, <lora:n:1>"),
    ("mine, ", "", "mine, a, <lora:n:1>"),
    ("mine, b, <lora:o:1>, more", "b, <lora:o:1>", "mine, a, <lora:n:1>, more"),
    ("mine, c, <lora:o:0.4>, more", "b, <lora:o:1>", "mine, c, more, a, <lora:n:1>"),
    ("<lora:o:1>, mine", "b, <lora:o:1>", "mine, a, <lora:n:1>"),
    ("<lora:other:1> mine", "b, <lora:o:1>", "<lora:other:1> mine, a, <lora:n:1>"),
    ("<lora:o-2:1> mine", "b, <lora:o:1>", "<lora:o-2:1> mine, a, <lora:n:1>"),
    ("mine, a, <lora:n:1>", "a, <lora:n:1>", "mine, a, <lora:n:1>"),
)


@pytest.mark.slow
def test_only_our_own_earlier_block_is_replaced(page):
    script = "(cases) => cases.map(([text, earlier]) => window.distill.merged(text, earlier, 'a, <lora:n:1>'))"
    assert page.evaluate(script, [case[:2] for case in MERGES]) == [case[2] for case in MERGES]


@pytest.mark.slow
def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page)
    page.locator(CAPTIONS).fill("woman, red hair, green eyes, a very long tag that takes a whole line of the phone")
    page.wait_for_selector("#distill_chips .distill-chip >> nth=3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab = box_of(page, page.locator("#distill_root"))
    for part in ("picture", "captions", "chips", "goal", "go"):
        box = box_of(page, page.locator(f"#distill_{part}").first)
        assert box["x"] >= tab["x"] - 1
        assert box["x"] + box["width"] <= tab["x"] + tab["width"] + 1
