"""The recipes that users know, a view and a mask, clicked in a real WebUI."""

from __future__ import annotations

import pytest

from tests.browser.test_options import choose
from tests.webui.conftest import PORTRAIT, WebUI, active, settle
from tests.webui.test_story import CAPTIONS, number

pytestmark = pytest.mark.webui


@pytest.mark.parametrize("preset", ["One Image", "Part 2", "Distillery"])
def test_a_preset_trains(webui: WebUI, page, preset: str) -> None:
    open_tab(page)
    choose(page, preset)
    shorten(page, webui)
    job = trained(webui, page)
    assert job["state"] == "done", job
    rank = {"One Image": 64}.get(preset, 16)
    assert job["options"]["network_dim"] == rank
    assert webui.txt2img(f"woman <lora:{job['name']}:1>") != webui.txt2img("woman")


def open_tab(page) -> None:
    settle(page)
    page.reload()
    page.wait_for_selector("#txt2img_prompt textarea")
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_go:visible")
    page.set_input_files("#distill_picture input[type=file]", str(PORTRAIT))
    page.wait_for_selector("#distill_picture img")
    page.fill("#distill_captions textarea", CAPTIONS)


def shorten(page, webui: WebUI) -> None:
    """Little enough for a CPU; everything else stays the recipe's."""
    page.click("#distill_group_training .label-wrap")
    number(page, "repeats", 2)
    number(page, "epochs", 2)
    page.click("#distill_group_regularization .label-wrap")
    number(page, "reg_count", 2)
    page.click("#distill_group_picture .label-wrap")
    number(page, "view_min_px", 64)
    if webui.size_px == 64:
        number(page, "resolution", 64)
    page.wait_for_timeout(1500)


def trained(webui: WebUI, page) -> dict:
    before = {job["id"] for job in webui.get("/distill/v1/jobs")["jobs"]}
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-active]")
    (new,) = {job["id"] for job in webui.get("/distill/v1/jobs")["jobs"]} - before
    return webui.wait(new, lambda job: not active(job), timeout_s=1500)
