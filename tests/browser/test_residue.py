"""After a job: what is in the LoRA without captions, and a click that adds what is missing."""

import pytest

from tests.browser.test_serve import CAPTIONS, set_option, text_is, upload, value_is

pytestmark = pytest.mark.slow  # a training that learns something


@pytest.mark.long
def test_what_no_caption_names_is_shown_and_added_by_a_click(page):
    page.set_default_timeout(240_000)
    upload(page)
    written = "woman, long red hair, green eyes, smile, blue sweater, earrings, window, yellow background, upper body"
    page.locator(CAPTIONS).fill(written)
    is_there = page.locator("#distill_root[data-saved]").count() == 1  # the LoRA of another test on this server
    assert page.locator("#distill_residue").is_visible() == is_there
    set_option(page, "sampling", "sample_every", 0)
    text_is(page, "#distill_cost", r"^60 steps")
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-active]")
    page.wait_for_selector("#distill_root[data-state=done]")
    page.click("#distill_residue")
    page.wait_for_selector("#distill_residue_stop", state="visible")
    text_is(page, "#distill_residue_found", r"\d / 8")
    page.click("#distill_residue_stop")
    text_is(page, "#distill_residue_found", "Stopped")
    page.wait_for_selector("#distill_residue", state="visible")

    page.click("#distill_residue")
    text_is(page, "#distill_residue_found", "can't be left out later")
    page.wait_for_selector("#distill_residue", state="visible")
    assert page.locator("#distill_residue_found img").count() == 4
    chip = page.locator("[data-residue-add='holding red apple']")
    chip.click()
    value_is(page, CAPTIONS, "earrings.*holding red apple")
    page.wait_for_selector("[data-residue-add='holding red apple'][disabled]")
    page.locator(CAPTIONS).fill(written)
    page.wait_for_selector("[data-residue-add='holding red apple']:not([disabled])")
