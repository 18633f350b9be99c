"""What a program can do about captions: list captioners, fetch, check words."""

import time

from tests.api.conftest import PICTURE, refused


def test_captioners_are_listed_without_folders(client, host):
    answer = client.get("/distill/v1/captioners")
    by_name = {choice["name"]: choice for choice in answer.json()["captioners"]}
    assert by_name["none"]["note"] == ""
    assert by_name["smolvlm-500m"]["can_fetch"]
    assert str(host.lora_dir.parent) not in answer.text


def test_only_known_names_are_fetched(client):
    for method, path in (("POST", ""), ("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        refused(client.request(method, f"/distill/v1/captioners/nobody{path}"), 404, "no captioner 'nobody'")
    assert client.get("/distill/v1/captioners/smolvlm-500m").json() == {"progress": None}
    assert client.post("/distill/v1/captioners/smolvlm-500m/cancel").json() == {"progress": None}
    refused(client.post("/distill/v1/captioners/smolvlm-500m"), 422, "HF_HUB_OFFLINE")  # set for all tests


def test_words_are_checked(client):
    assert client.get("/distill/v1/words").json()["state"] == "idle"
    refused(client.post("/distill/v1/words", json={"picture": PICTURE, "captions": ""}), 422, "no captions to check")
    body = {"picture": PICTURE, "captions": "woman, red hair, smile"}
    answer = client.post("/distill/v1/words", json=body)
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 60
    while (now := client.get("/distill/v1/words").json())["state"] in (
        "waiting",
        "running",
    ) and time.monotonic() < until:
        time.sleep(0.05)
    assert now["state"] == "done", now
    assert [found["tag"] for found in now["verdicts"]] == ["red hair", "smile"]
    assert {found["verdict"] for found in now["verdicts"]} <= {"known", "weak", "unknown"}
    assert client.post("/distill/v1/words/stop").json()["state"] == "done"


def test_a_description_that_is_not_there_can_be_stopped(client):
    assert client.post("/distill/v1/caption/stop").json() == {"stopped": True}
