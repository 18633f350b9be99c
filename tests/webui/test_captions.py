"""On a running WebUI: captioners, words checked on the loaded checkpoint, and the model as it was afterwards."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from tests.webui.conftest import PORTRAIT, WebUI

pytestmark = pytest.mark.webui

CAPTIONS = "woman, red hair, green eyes, smile"


def picture() -> str:
    return base64.b64encode(PORTRAIT.read_bytes()).decode()


def check(webui: WebUI, **more: Any) -> dict[str, Any]:
    body = {"picture": picture(), "captions": CAPTIONS, "options": {"resolution": webui.size_px}, **more}
    answer = webui.post("/distill/v1/words", **body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def ended(webui: WebUI, timeout_s: float = 600) -> dict[str, Any]:
    until = time.monotonic() + timeout_s
    while (now := webui.get("/distill/v1/words"))["state"] in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.2)
    return now


def test_the_webuis_own_captioners_are_listed_and_never_fetched_by_themselves(webui: WebUI) -> None:
    by_name = {choice["name"]: choice for choice in webui.get("/distill/v1/captioners")["captioners"]}
    print({name: choice["note"] for name, choice in by_name.items() if name.startswith("webui-")})  # noqa: T201
    assert by_name["none"]["note"] == ""
    for name in ("webui-blip", "webui-deepbooru"):
        if by_name[name]["note"]:
            answer = webui.post("/distill/v1/caption", picture=picture(), options={"captioner": name})
            assert answer.status_code == 422, answer.text
            assert "can't be used" in answer.json()["error"]["message"]


def test_what_the_captioner_says_has_groups_and_a_class(webui: WebUI) -> None:
    answer = webui.post("/distill/v1/caption", picture=picture(), options={"captioner": "pocket"})
    said = answer.raise_for_status().json()
    assert (said["class"], said["by"]) == ("woman", ["pocket"])
    assert "red hair" in " ".join(said["identity"])


def test_words_are_checked_and_the_pictures_stay_the_same(webui: WebUI) -> None:
    before = webui.txt2img("ball").tobytes()
    check(webui)
    now = ended(webui)
    print([(found["tag"], found["verdict"], round(found["score"], 2)) for found in now["verdicts"]])  # noqa: T201
    assert (now["state"], len(now["verdicts"])) == ("done", 3), now
    assert webui.txt2img("ball").tobytes() == before
    compare = "/distill-probe/compare"
    if webui.get("/openapi.json")["paths"].get(compare) is not None:
        assert webui.get(compare)["different"] == 0


def test_a_check_stops_when_it_is_asked_to_and_when_a_training_comes(webui: WebUI) -> None:
    check(webui, captions="a, b, c, d, e, f, g")
    assert webui.post("/distill/v1/words/stop").json()["state"] == "cancelled"
    check(webui, captions="h, i, j, k, l, m, n")
    options = {"repeats": 1, "epochs": 1, "sample_every": 0, "preview": False, "resolution": webui.size_px}
    job = webui.train("woman, red hair", **options)
    assert webui.get("/distill/v1/words")["state"] == "cancelled"
    assert webui.wait(job["id"])["state"] == "done"


def test_the_webuis_interrupt_ends_a_check(webui: WebUI) -> None:
    check(webui, captions="o, p, q, r, s, t, u, v, w")
    until = time.monotonic() + 120
    while webui.get("/distill/v1/words")["state"] == "waiting" and time.monotonic() < until:
        time.sleep(0.1)
    webui.post("/sdapi/v1/interrupt")
    assert ended(webui, 120)["state"] in ("cancelled", "done")
    assert webui.txt2img("ball")
