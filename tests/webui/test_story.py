"""The whole story, clicked in a real WebUI: picture, captions, Distill, into txt2img, a picture with the LoRA."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import ImageChops

from tests.webui.conftest import PORTRAIT, WebUI, active, settle

pytestmark = pytest.mark.webui

CAPTIONS = "woman, red hair, green eyes, holding red apple"


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


def write_prompts(page) -> None:
    page.fill("#txt2img_prompt textarea", "masterpiece")
    page.fill("#txt2img_neg_prompt textarea", "blurry")


def test_from_a_picture_to_a_picture(webui: WebUI, page, shot) -> None:
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_go:visible")
    shot("first")
    choose_picture_and_captions(page)
    set_options(page, webui)
    shot("ready")
    before = {path.name for path in webui.lora_dir.rglob("*.safetensors")}
    train(page, shot)
    new = {path.name for path in webui.lora_dir.rglob("*.safetensors")} - before
    assert len(new) == 2, "an epoch and the last"
    prompt = use_twice(page, webui)
    generate(page, webui)
    shot("generated")
    without = re.sub(r",? *<lora:[^>]+>", "", prompt)
    pictures = [webui.txt2img(text, steps=20 if webui.size_px > 64 else 2) for text in (prompt, without, prompt)]
    assert ImageChops.difference(pictures[0], pictures[1]).getbbox(), "the LoRA shows"
    assert ImageChops.difference(pictures[0], pictures[2]).getbbox() is None, "and does so every time"


def choose_picture_and_captions(page) -> None:
    page.set_input_files("#distill_picture input[type=file]", str(PORTRAIT))
    page.wait_for_selector("#distill_picture img")
    page.click("#distill_describe")  # a captioner that is there fills the box, none says so
    page.wait_for_function(
        "document.querySelector('#distill_captions textarea').value"
        " || document.querySelector('#distill_said').textContent.trim()"
    )
    page.fill("#distill_captions textarea", CAPTIONS)
    page.wait_for_selector("#distill_chips .distill-chip >> nth=3")
    assert re.search(r"\d+ / 75 tokens", page.inner_text("#distill_counter"))


def set_options(page, webui: WebUI) -> None:
    page.click("#distill_group_training .label-wrap")
    number(page, "repeats", 60 if webui.size_px > 64 else 4)  # few on a full-size model
    number(page, "epochs", 2)
    if webui.size_px == 64:
        page.click("#distill_group_picture .label-wrap")
        number(page, "resolution", 64)
    page.wait_for_timeout(1500)  # the counters follow


def train(page, shot) -> None:
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-active]")
    step = "/Step [1-9]\\d* of/.test(document.querySelector('#distill_status').textContent)"
    page.wait_for_function(step, timeout=300_000)
    page.wait_for_timeout(4000)
    shot("during")
    settle(page)
    page.reload()  # coming back finds the job again
    page.wait_for_selector("#txt2img_prompt textarea")
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_root[data-saved]:not([data-active])", timeout=900_000)
    page.wait_for_function("document.querySelector('#distill_prompt textarea').value.includes('<lora:')")
    page.wait_for_timeout(1000)
    shot("after")


def use_twice(page, webui: WebUI) -> str:
    page.evaluate("document.querySelector('#tabs button').click()")
    write_prompts(page)
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
    return prompt


def generate(page, webui: WebUI) -> None:
    page.fill("#txt2img_steps input[type=number]", "20" if webui.size_px > 64 else "2")
    page.press("#txt2img_steps input[type=number]", "Tab")
    page.click("#txt2img_generate")
    page.wait_for_selector("#txt2img_gallery img", state="attached", timeout=300_000)
    page.wait_for_timeout(1500)


def test_use_in_img2img_hands_over_picture_and_prompt(webui: WebUI, page) -> None:
    if not page.input_value("#distill_prompt textarea"):
        pytest.skip("no LoRA of this server's life: run the whole file")
    page.evaluate("switch_to_distill()")
    clear = page.locator(
        "#distill_picture button[aria-label=Clear], #distill_picture button[aria-label='Remove Image']"
    )
    if not page.locator("#distill_picture img").count():
        page.set_input_files("#distill_picture input[type=file]", str(PORTRAIT))
        page.wait_for_selector("#distill_picture img")
    page.click("#distill_use_img2img")
    page.wait_for_selector("#img2img_generate:visible")
    shown = (
        "document.querySelector('#img2img_image img[src^=data], #img2img_image img[src^=http], #img2img_image canvas')"
    )
    page.wait_for_function(shown)
    assert "<lora:" in page.input_value("#img2img_prompt textarea")
    # and with an empty picture of ours, the one in img2img stays
    page.evaluate("switch_to_distill()")
    clear.first.click()
    page.wait_for_selector("#distill_picture img", state="detached")
    page.click("#distill_use_img2img")
    page.wait_for_selector("#img2img_generate:visible")
    page.wait_for_timeout(2000)
    assert page.evaluate(f"!!{shown}")
    assert page.input_value("#img2img_prompt textarea").count("<lora:") == 1


def test_a_generated_picture_is_taken_by_one_click(webui: WebUI, page) -> None:
    page.evaluate("switch_to_distill()")
    page.evaluate("document.querySelector('#tabs button').click()")
    page.wait_for_selector("#txt2img_generate:visible")
    page.click("#txt2img_send_to_distill")
    page.wait_for_selector("#distill_go:visible")
    page.wait_for_selector("#distill_picture img")


def test_reload_ui_does_not_stop_a_job(webui: WebUI, page) -> None:
    captions = "woman, red hair"
    options = {"epochs": 1, "resolution": 64, "preview": False, "sample_every": 0, "network_dim": 4}
    job = webui.train(captions, repeats=600 if webui.size_px > 64 else 20, **options)
    webui.wait(job["id"], lambda job: job["step"] >= 1 or not active(job))
    settle(page)
    page.evaluate("gradioApp().getElementById('settings_restart_gradio').click()")
    page.wait_for_timeout(3000)
    for _ in range(60):
        try:
            page.goto(webui.url)
            page.wait_for_selector("#txt2img_prompt textarea", timeout=20_000)
            break
        except Exception:  # noqa: BLE001 - the server is away for some seconds
            page.wait_for_timeout(1000)
    page.evaluate("switch_to_distill()")
    page.wait_for_function(f"document.querySelector('#distill_state').innerHTML.includes('{job['id']}')")
    assert webui.wait(job["id"])["state"] == "done"
    assert page.wait_for_selector("#distill_root[data-saved]:not([data-active])")
