"""A server that is killed while it trains: the next one offers to go on, and a click does."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.browser.conftest import ROOT, _free_port, _wait_for, open_tab
from tests.browser.test_serve import describe, set_option, text_is


@contextmanager
def serving(folder):
    """(process, address) of a `distill serve` of its own."""
    port, log = _free_port(), folder / "log.txt"
    command = [sys.executable, "-m", "distill", "serve", "--port", str(port), "--device", "cpu"]
    with log.open("w") as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*command, "--lora-dir", str(folder / "lora")], cwd=folder, env=environment, stdout=out, stderr=out
        )
        try:
            _wait_for("Distill is at", log, process)
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.mark.long
@pytest.mark.slow
def test_go_on_ends_what_was_cut_off(browser, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(90_000)
    with serving(tmp_path) as (process, address):
        open_tab(page, address)
        describe(page)
        set_option(page, "training", "repeats", 10)
        set_option(page, "training", "epochs", 4)
        page.click("#distill_go")
        page.wait_for_selector("#distill_strip [data-lora]")  # the first epoch
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [path.name for path in (tmp_path / "lora").glob("*.safetensors")]
    assert kept
    with serving(tmp_path) as (_, address):
        open_tab(page, address)
        text_is(page, "#distill_cut_off_text", "was cut off at step .*It can go on after the last whole epoch")
        page.wait_for_selector("#distill_cut_off")
        page.click("#distill_go_on")
        page.wait_for_selector("#distill_cut_off", state="hidden")
        page.wait_for_selector('#distill_root[data-state="done"]')
        tiles = page.locator("#distill_strip [data-lora]")
        assert tiles.count() == 4
        assert tiles.locator("img").count() == 4
        assert page.locator("#distill_loss svg").get_attribute("aria-label").endswith("after 20 of 20 steps")
        assert set(kept) < {path.name for path in (tmp_path / "lora").glob("*.safetensors")}
    page.close()
