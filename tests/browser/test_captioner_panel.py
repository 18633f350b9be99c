"""Choosing a captioner in a real browser."""

import pytest

from tests.browser.test_serve import text_is

PANEL = "#distill_captioner_panel"


def choose(page, name):
    page.locator(f"{PANEL} > button, {PANEL} > .label-wrap, {PANEL} > div > .label-wrap").first.click()
    box = page.locator("#distill_captioner input").first
    box.wait_for(state="visible")
    box.fill(name)
    box.press("Enter")


@pytest.mark.slow
def test_a_captioner_that_is_not_there_is_offered_and_not_fetched_by_itself(page):
    choose(page, "smolvlm-500m")
    text_is(
        page, "#distill_captioner_note", "SmolVLM-500M-Instruct, commit [0-9a-f]{8}: 973 MiB into .* licence Apache-2.0"
    )
    page.click("#distill_fetch")
    text_is(page, "#distill_fetching", "HF_HUB_OFFLINE is set")  # as for all tests
    page.click("#distill_describe")
    text_is(page, "#distill_said", "There is no picture yet")


@pytest.mark.slow
def test_an_endpoint_that_does_not_answer_is_told_and_the_box_stays_editable(page):
    choose(page, "endpoint")
    text_is(page, "#distill_captioner_note", "Give the server")
    page.locator("#distill_endpoint input, #distill_endpoint textarea").first.fill("127.0.0.1:9")
    page.click("#distill_list_models")
    text_is(page, "#distill_fetching", "127.0.0.1:9")
    page.fill("#distill_captions textarea", "red hair")
    text_is(page, "#distill_counter", "^2 / 75|^[0-9]+ / 75")
