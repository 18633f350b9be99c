"""A real `distill serve` on the pocket checkpoint, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Its address."""
    folder = tmp_path_factory.mktemp("serve")
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "distill",
        "serve",
        "--port",
        str(port),
        "--lora-dir",
        str(folder / "lora"),
        "--device",
        "cpu",
    ]
    log = folder / "log.txt"
    with log.open("w") as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            _wait_for("Distill is at", log, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture(scope="session")
def browser(request):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = request.config.getoption("--chromium")
    chromium = chromium if Path(chromium).exists() else shutil.which("chromium")
    if not chromium:
        pytest.skip("there is no Chromium here; --chromium names one")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The Distill tab, freshly opened; an error in its script fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_tab(page, server)
    yield page
    page.close()
    assert errors == []


def open_tab(page, address):
    page.goto(address)
    page.wait_for_function("() => window.switch_to_distill && document.querySelector('#tabs button')")
    page.evaluate("switch_to_distill()")
    page.wait_for_selector("#distill_root[data-state]")


def box_of(page, locator):
    """Where it is and how large. Playwright has none for what is drawn anew just then; the test's own limit ends it."""
    while (box := locator.bounding_box()) is None:
        page.wait_for_timeout(50)
    return box


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(words, log, process):
    until = time.monotonic() + 90
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
