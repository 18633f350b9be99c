"""The whole story, clicked in a browser in a real WebUI: picture, captions, Distill, into txt2img, a picture with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageChops

from tests.webui.conftest import PORTRAIT, WebUI

pytestmark = pytest.mark.webui

CAPTIONS = "woman, red hair, green eyes, holding red apple"
SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def page(webui: WebUI, request: pytest.FixtureRequest) -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = request.config.getoption("--chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(webui.url)
        page.wait_for_selector("#txt2img_prompt textarea")
        yield page
        browser.close()


@pytest.fixture
def shot(page, request: pytest.FixtureRequest):
    folder = request.config.getoption("--webui-shots")

    def take(name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    return take


def number(page, name: str, value: float) -> None:
    box = page.locator(f"#distill_{name} input[type=number]").first
    box.fill(str(value))
    box.press("Tab")


def test_from_a_picture_to_a_picture(webui: WebUI, page, shot) -> None:
    page.fill("#txt2img_prompt textarea", "masterpiece")
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_go:visible")
    shot("first")

    page.set_input_files("#distill_picture input[type=file]", str(PORTRAIT))
    page.wait_for_selector("#distill_picture img")
    page.click("#distill_describe")
    page.wait_for_function(
        "document.querySelector('#distill_captions textarea').value"
        " || document.querySelector('#distill_message').textContent.trim()"
    )
    page.fill("#distill_captions textarea", CAPTIONS)
    page.wait_for_selector("#distill_chips li >> nth=3")
    assert re.search(r"\d+ / 75 tokens", page.inner_text("#distill_counter"))
    page.fill("#distill_name textarea, #distill_name input", "")

    page.click("#distill_group_training >> nth=0 >> button, .label-wrap >> nth=0")
    number(page, "repeats", page_steps(webui))
    number(page, "epochs", 2)
    page.click("#distill_group_picture >> button, .label-wrap >> nth=0")
    if webui.size_px == 64:  # a full-size model on a CPU
        number(page, "resolution", 64)
    page.wait_for_timeout(1500)
    shot("ready")

    before = {path.name for path in webui.lora_dir.rglob("*.safetensors")}
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-active]")
    page.wait_for_function(
        "/Step \\d+ of/.test(document.querySelector('#distill_status').textContent)", timeout=300_000
    )
    shot("during")
    page.reload()  # coming back finds the job again
    page.wait_for_selector("#txt2img_prompt textarea")
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_root[data-saved]:not([data-active])", timeout=900_000)
    page.wait_for_function("document.querySelector('#distill_prompt textarea').value.includes('<lora:')")
    shot("after")
    new = {path.name for path in webui.lora_dir.rglob("*.safetensors")} - before
    assert len(new) == 2, "an epoch and the last"

    page.evaluate("document.querySelector('button[id^=txt2img] , #tabs button').click()")
    page.fill("#txt2img_prompt textarea", "masterpiece")
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    page.evaluate("switch_to_distill()")
    page.locator("#distill_weight_marks [data-weight='1']").click()
    page.wait_for_function("/:1>/.test(document.querySelector('#distill_prompt textarea').value)")
    for _ in range(2):  # the second time replaces the first
        page.evaluate("switch_to_distill()")
        page.click("#distill_use_txt2img")
        page.wait_for_selector("#txt2img_generate:visible")
    prompt = page.input_value("#txt2img_prompt textarea")
    assert prompt.startswith("masterpiece, ")
    assert prompt.count("<lora:") == 1
    assert all(tag in prompt for tag in CAPTIONS.split(", ")[1:])
    assert page.input_value("#txt2img_neg_prompt textarea") == "blurry"
    size = [page.input_value(f"#txt2img_{side} input[type=number]") for side in ("width", "height")]
    assert size == [str(webui.size_px)] * 2
    name = re.search(r"<lora:([^:]+):1>", prompt)[1]
    page.wait_for_selector(f"#txt2img_lora_cards .card[data-name='{name}']", state="attached")

    page.fill("#txt2img_steps input[type=number]", "10" if webui.size_px > 64 else "2")
    page.press("#txt2img_steps input[type=number]", "Tab")
    page.click("#txt2img_generate")
    page.wait_for_selector("#txt2img_gallery img", state="attached", timeout=300_000)
    page.wait_for_timeout(1500)
    shot("generated")

    without = re.sub(r",? *<lora:[^>]+>", "", prompt)
    pictures = [webui.txt2img(text, steps=20 if webui.size_px > 64 else 2) for text in (prompt, without, prompt)]
    assert ImageChops.difference(pictures[0], pictures[1]).getbbox(), "the LoRA shows"
    assert ImageChops.difference(pictures[0], pictures[2]).getbbox() is None, "and does so every time"


def test_a_generated_picture_is_taken_by_one_click(webui: WebUI, page) -> None:
    page.evaluate("switch_to_distill()")
    page.evaluate("document.querySelector('#tabs button').click()")
    page.wait_for_selector("#txt2img_generate:visible")
    page.click("#txt2img_send_to_distill")
    page.wait_for_selector("#distill_go:visible")
    page.wait_for_selector("#distill_picture img")


def page_steps(webui: WebUI) -> int:
    """Steps in an epoch: few on a full-size model, as many as the pocket checkpoint needs."""
    return 60 if webui.size_px > 64 else 4
