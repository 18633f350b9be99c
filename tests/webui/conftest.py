"""A real WebUI that the developer has started:

    pytest -m webui tests/webui --webui-dir DIR --webui-url http://127.0.0.1:7860

DIR is the folder of the WebUI (its `models/Lora` is looked at); start it with `--api`. Pictures are 64 px wide unless
`--webui-size` says otherwise: the pocket checkpoint wants 128.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.browser.conftest import FLAGS

PORTRAIT = Path(__file__).resolve().parents[2] / "distill" / "pocket" / "portrait.png"


class WebUI:
    """The running WebUI, by its API."""

    def __init__(self, url: str, folder: Path, size_px: int) -> None:
        self.url, self.folder, self.size_px = url.rstrip("/"), folder, size_px
        self.lora_dir = folder / "models" / "Lora"
        self.http = httpx.Client(base_url=self.url, timeout=600, trust_env=False)

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def post(self, path: str, **values: Any) -> httpx.Response:
        return self.http.post(path, json=values)

    def txt2img(self, prompt: str, steps: int = 2, seed: int = 1, **more: Any) -> Image.Image:
        """One picture, made by the WebUI itself."""
        values = {"prompt": prompt, "steps": steps, "seed": seed, "width": self.size_px, "height": self.size_px}
        answer = self.post("/sdapi/v1/txt2img", **{**values, "sampler_name": "Euler", "cfg_scale": 5, **more})
        answer.raise_for_status()
        return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).convert("RGB")

    def train(self, captions: str, picture: bytes | None = None, **options: Any) -> dict[str, Any]:
        """A new job; returns what the API says of it."""
        data = base64.b64encode(picture or PORTRAIT.read_bytes()).decode()
        answer = self.post("/distill/v1/train", picture=data, captions=captions, options=options)
        assert answer.is_success, answer.text
        return answer.json()

    def job(self, job_id: str) -> dict[str, Any]:
        return self.get(f"/distill/v1/jobs/{job_id}")

    def wait(self, job_id: str, until: Any = lambda job: not active(job), timeout_s: float = 900) -> dict[str, Any]:
        """Poll until `until(job)`; fails after `timeout_s`."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            job = self.job(job_id)
            if until(job):
                return job
            time.sleep(0.1)
        raise AssertionError(f"still {job['state']} after {timeout_s} s: {job}")


def active(job: dict[str, Any]) -> bool:
    """Whether the job has not ended."""
    return job["state"] in ("queued", "waiting", "running")


@pytest.fixture(scope="session")
def webui(request: pytest.FixtureRequest) -> WebUI:
    folder, url = request.config.getoption("--webui-dir"), request.config.getoption("--webui-url")
    if not folder or not url:
        pytest.skip("name a running WebUI: --webui-dir DIR --webui-url URL")
    return WebUI(url, Path(folder), request.config.getoption("--webui-size"))


@pytest.fixture(scope="module")
def page(webui: WebUI, request: pytest.FixtureRequest) -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = request.config.getoption("--chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(60_000)
        page.add_init_script(COUNT_SOCKETS)
        page.goto(webui.url)
        page.wait_for_selector("#txt2img_prompt textarea")
        yield page
        settle(page)
        browser.close()


COUNT_SOCKETS = """
    window.sockets = { open: 0, changed: Date.now() };
    const count = (by) => { sockets.open += by; sockets.changed = Date.now(); };
    window.WebSocket = class extends WebSocket {
        constructor(...args) { super(...args); count(1); this.addEventListener("close", () => count(-1)); }
    };
"""


def settle(page) -> None:
    """Wait until no event of the page is under way, which must come before leaving it.

    gradio 3.41 never ends the task of an event whose page has gone before its data were asked for, and with one of
    those A1111's Reload UI waits for ever: seen with the WebUI's own `settings_json` of a page just loaded.
    """
    page.wait_for_function("!sockets.open && Date.now() - sockets.changed > 1500")
