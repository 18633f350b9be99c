"""On a running WebUI: the loaded model against its file, bit by bit, after every way that a training can end.

The probe has to be in the WebUI before it starts:

    cp -r tests/webui/probe WEBUI/extensions/distill-probe
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from PIL import Image

from tests.webui.conftest import WebUI

pytestmark = pytest.mark.webui

QUICK = {
    "repeats": 2,
    "epochs": 1,
    "batch_size": 1,
    "network_dim": 4,
    "preview": False,
    "sample_every": 0,
    "keep_epochs": False,
}


@pytest.fixture(scope="module")
def probe(webui: WebUI) -> WebUI:
    if webui.http.get("/openapi.json").json()["paths"].get("/distill-probe/compare") is None:
        pytest.skip("the probe is not in this WebUI: cp -r tests/webui/probe WEBUI/extensions/distill-probe")
    webui.txt2img("ball")  # some WebUIs load the model only now
    return webui


def run(probe: WebUI, how: str, **options: Any) -> dict[str, Any]:
    options = {**QUICK, "trigger": f"probe {how}", "resolution": probe.size_px, **options}
    told = probe.post("/distill-probe/run", how=how, options=options).raise_for_status().json()
    assert "failed" not in told, told
    print(how, told)  # noqa: T201 - the figures are what a developer runs this for
    return told


def is_the_file(told: dict[str, Any]) -> None:
    assert told["different"] == 0, told
    assert not told["absent"] or all("text_projection" in name for name in told["absent"])
    assert min(told["equal"]) > 0


ENDS = {
    "end": {"ended": "Done"},
    "stop": {"ended": "Done", "steps": 1},
    "discard": {"ended": "Step", "steps": 1},
    "exception": {"raised": "Provoked: provoked"},
    "memory": {"steps": 1},
}


@pytest.mark.parametrize("how", ENDS)
def test_the_model_is_its_file_after(probe: WebUI, how: str) -> None:
    told = run(probe, how)
    is_the_file(told)
    assert told["untouched"]
    assert told["queue free"]
    assert {key: told.get(key) for key in ENDS[how]} == ENDS[how]
    if how == "memory":
        assert "Out of memory" in told["raised"]


def test_a_lora_that_was_used_is_not_in_what_is_lent(probe: WebUI) -> None:
    told = run(probe, "end", trigger="probe contamination", unet_lr=0.01)
    assert told["ended"] == "Done"
    prompt = f"ball <lora:{told['saved']}:1>"
    plain, with_lora = probe.txt2img("ball"), probe.txt2img(prompt)
    assert with_lora.tobytes() != plain.tobytes()
    assert probe.get("/distill-probe/compare")["different"] > 0
    told = probe.post("/distill-probe/borrow").json()
    print(told)  # noqa: T201
    is_the_file(told)
    for shared, count, kept in zip(told["shared"], told["of"], told["kept as"]):
        # What the host keeps in half precision while it computes in full is copied: Forge's text encoder on a CPU.
        assert shared == count or kept != [told["dtype"]]
    # and the pictures after it are those of before
    assert probe.txt2img(prompt).tobytes() == with_lora.tobytes()
    probe.post("/distill-probe/borrow")
    assert probe.txt2img("ball").tobytes() == plain.tobytes()


def test_a_picture_is_encoded_while_its_captions_are_written(probe: WebUI, page, tmp_path) -> None:
    path, before = tmp_path / "noise.png", probe.get("/distill-probe/remembered")["bytes"]
    Image.effect_noise((640, 640), 60).convert("RGB").save(path)  # another one each time
    page.evaluate("switch_to_distill()")
    page.set_input_files("#distill_picture input[type=file]", str(path))
    page.wait_for_selector("#distill_picture img")
    started, end = time.monotonic(), time.monotonic() + 120
    while (now := probe.get("/distill-probe/remembered"))["bytes"] == before or not now["queue free"]:
        assert time.monotonic() < end, now
        time.sleep(0.1)
    print(f"encoded after {time.monotonic() - started:.1f} s: {now['bytes'] - before} bytes")  # noqa: T201
    is_the_file(probe.get("/distill-probe/compare"))


def test_the_way_to_the_first_step_is_short(probe: WebUI) -> None:
    seconds = run(probe, "stop")["seconds"]
    encoding = seconds["encoded"] - seconds["encoding"]
    assert seconds["training"] - encoding < 3
