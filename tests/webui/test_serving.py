"""The WebUI goes on serving, whatever is done to Distill."""

from __future__ import annotations

import base64
import io
import threading

import pytest
from PIL import Image, ImageChops

from tests.webui.conftest import PORTRAIT, WebUI, active

pytestmark = pytest.mark.webui

CAPTIONS = "zor fip woman, red hair, green eyes, holding red apple"
# Both checkpoints train at 64 px, which is what makes a full-size one bearable on a CPU.
SHORT = {
    "repeats": 2,
    "epochs": 1,
    "batch_size": 1,
    "sample_every": 0,
    "preview": False,
    "network_dim": 4,
    "resolution": 64,
}
LONG = {**SHORT, "repeats": 400, "epochs": 2, "keep_epochs": False}
PICTURE = base64.b64encode(PORTRAIT.read_bytes()).decode()


def png(size: tuple[int, int]) -> str:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


REFUSED = {
    "no picture": {"picture": None},
    "not base64": {"picture": "%%%"},
    "not a picture": {"picture": base64.b64encode(b"hello" * 100).decode()},
    "half a picture": {"picture": base64.b64encode(PORTRAIT.read_bytes()[:2000]).decode()},
    "a picture of one pixel": {"picture": png((1, 1))},
    "a path on the server": {"picture": "/etc/hostname"},
    "a file URL": {"picture": "file:///etc/hostname"},
    "a URL of this machine": {"picture": "http://127.0.0.1:1/a.png"},
    "an unknown option": {"options": {"nonsense": 1}},
    "an option out of range": {"options": {"network_dim": 100000}},
    "an option of another kind": {"options": {"repeats": "many"}},
    "a name with a slash": {"options": {"name": "../../escape"}},
    "a reserved name": {"options": {"name": "con"}},
    "captions of another kind": {"captions": {"a": 1}},
    "options of another kind": {"options": [1, 2]},
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_orders_are_refused_in_words(webui: WebUI, what: str) -> None:
    order = {"picture": PICTURE, "captions": CAPTIONS, "options": SHORT, **REFUSED[what]}
    answer = webui.post("/distill/v1/train", **order)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["message"]
    assert_serves(webui)


@pytest.mark.parametrize(
    "options",
    [
        {"trigger": "a, b"},
        {"unet_lr": 1.0, "repeats": 30, "lr_scheduler": "constant", "lr_warmup": 0.0, "max_grad_norm": 0.0},
        {"captioner": "no-such-captioner"},
    ],
    ids=["a trigger with a comma", "a rate that breaks", "no such captioner"],
)
def test_jobs_that_fail_say_why(webui: WebUI, options: dict) -> None:
    captions = None if "captioner" in options else CAPTIONS
    answer = webui.post("/distill/v1/train", picture=PICTURE, captions=captions, options={**SHORT, **options})
    if answer.is_success:
        job = webui.wait(answer.json()["id"])
        if "unet_lr" not in options:  # whether it breaks depends on the checkpoint
            assert job["state"] == "failed"
        assert job["state"] == "done" or job["error"]
    else:
        assert answer.json()["error"]["message"]
    assert_serves(webui)


@pytest.mark.parametrize("how", ["stop", "discard", "interrupt"])
def test_ending_early(webui: WebUI, how: str) -> None:
    there = set(webui.lora_dir.rglob("*"))
    job = webui.train(CAPTIONS, **LONG)
    running = webui.wait(job["id"], lambda job: job["step"] >= 2 or not active(job))
    assert running["state"] == "running", running
    progress = webui.get("/sdapi/v1/progress")
    assert 0 < progress["progress"] < 1
    before = webui.job(job["id"])["step"]
    if how == "interrupt":
        webui.post("/sdapi/v1/interrupt").raise_for_status()
    else:
        webui.post(f"/distill/v1/jobs/{job['id']}/{how}").raise_for_status()
    ended = webui.wait(job["id"])
    assert ended["step"] <= before + 3, "a step was running, and two more may follow"
    assert ended["state"] == ("discarded" if how == "discard" else "stopped")
    new = sorted(path.suffix for path in set(webui.lora_dir.rglob("*")) - there)
    assert new == ([] if how == "discard" else [".json", ".png", ".safetensors"])
    assert_serves(webui)


def test_a_picture_asked_for_meanwhile_waits_and_then_comes(webui: WebUI) -> None:
    first = webui.txt2img("woman, red hair")
    job = webui.train(CAPTIONS, **{**LONG, "repeats": 20, "epochs": 1})
    webui.wait(job["id"], lambda job: job["step"] >= 1 or not active(job))
    came: list[Image.Image] = []
    states: list[str] = []

    def ask() -> None:
        came.append(webui.txt2img("woman, red hair"))
        states.append(webui.job(job["id"])["state"])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert states == ["done"], "the picture was made after the training, not within it"
    assert ImageChops.difference(first, came[0]).getbbox() is None, "and by a model that is as it was"


def test_a_second_job_waits_for_the_first(webui: WebUI) -> None:
    first, second = webui.train(CAPTIONS, **LONG), webui.train(CAPTIONS, **SHORT)
    assert webui.job(second["id"])["state"] == "queued"
    third = webui.train(CAPTIONS, **SHORT)
    webui.post(f"/distill/v1/jobs/{third['id']}/discard").raise_for_status()
    assert webui.job(third["id"])["state"] == "discarded"
    webui.post(f"/distill/v1/jobs/{first['id']}/discard").raise_for_status()
    assert webui.wait(second["id"])["state"] == "done"


def assert_serves(webui: WebUI) -> None:
    picture = webui.txt2img("woman", steps=1)
    assert picture.size == (webui.size_px, webui.size_px)
    assert picture.getextrema() != ((0, 0),) * 3
