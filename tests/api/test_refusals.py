"""What is refused: with a status, a sentence, and nothing begun."""

import base64
import json

import httpx
import pytest

from distill.api import Policy
from tests.api.conftest import BLACK, JSON, PICTURE, QUICK, refused, serving


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"picture": None}, "no picture"),
        ({"picture": 3}, "no picture"),
        ({"picture": "/etc/hostname"}, "paths of the server are not read"),
        ({"picture": "C:\\picture.png"}, "paths of the server are not read"),
        ({"picture": "file:///etc/hostname"}, "paths of the server are not read"),
        ({"picture": base64.b64encode(b"no picture").decode()}, "not a picture"),
        ({"picture": "data:image/png,abc"}, "not in base64"),
        ({"picture": "http://127.0.0.1:1/x.png"}, "own network"),
        ({"captions": 3}, "neither a text nor a list"),
        ({"captions": ["a", None]}, "neither a text nor a list"),
        ({"options": []}, "not an object"),
        ({"options": {"rank": 3}}, "Unknown option: rank"),
        ({"options": {"network_dim": "16"}}, "not a whole number"),
        ({"options": {"network_dim": True}}, "not a whole number"),
        ({"options": {"unet_lr": 1e400}}, "not a number"),
        ({"options": {"name": "../x"}}, "slash"),
        ({"options": {"captioner": "/etc"}}, "no captioner"),
        ({"options": {"captioner": "pocket+/etc"}}, "no captioner"),
        ({"options": {"upscaler": "/models/4x.pth"}}, "Model files of the server are not read"),
        ({"options": {"upscaler": "5x"}}, "no upscaler '5x'"),
        ({"options": {"reg_pictures": "folder"}}, "Folders of the server are not read"),
        ({"options": {"reg_folder": "/etc"}}, "Folders of the server are not read"),
        ({"image": PICTURE}, "Unknown: image"),
        ({"views": {}}, "not a list"),
        ({"views": [{"box": [0, 0, 1, 1]}] * 17}, "17 views"),
        ({"views": [[0, 0, 1, 1]]}, "View 1 is not an object"),
        ({"views": [{"name": "face"}]}, "View 1 has no box"),
        ({"views": [{"box": [0, 0, 1, 1], "path": "/etc"}]}, "unknown parts: path"),
        ({"views": [{"box": [0, 0, 1, "1"]}]}, "something else than numbers"),
        ({"views": [{"box": [0, 0, 1, 1.1]}]}, "not inside the picture"),
        ({"views": [{"box": [0.5, 0, 0.5, 1]}]}, "no size"),
        ({"views": [{"box": [0, 0, 0.2, 0.2]}]}, "19 x 26 px"),
        ({"views": [{"box": [0, 0, 1, 1], "repeats": 1.5}]}, "repeats of 1.5"),
        ({"views": [{"box": [0, 0, 1, 1], "captions": 3}]}, "neither a text nor a list"),
        ({"mask": "/etc/hostname"}, "paths of the server are not read"),
        ({"mask": base64.b64encode(b"no picture").decode()}, "not a picture"),
        ({"mask": BLACK}, "black all over"),
        ({"repeats": -1}, "repeats of -1"),
        ({"pictures": PICTURE}, "not a list"),
        ({"pictures": [{}] * 8}, "8 further pictures"),
        ({"pictures": [{"picture": PICTURE, "options": {}}]}, "Picture 2 has unknown parts: options"),
        ({"pictures": [{"picture": "http://127.0.0.1:1/x.png"}]}, "own network"),
        ({"pictures": [{"picture": PICTURE, "captions": "a", "views": [{}]}]}, "no box"),
        ({"pictures": [{"picture": PICTURE}]}, "no captions and there is no captioner"),
    ],
)
def test_what_can_not_be_used_is_said(client, jobs, change, said):
    before = len(jobs.all())
    body = json.dumps({"picture": PICTURE, "captions": "a", "options": QUICK, **change})  # httpx itself refuses inf
    refused(client.post("/distill/v1/train", content=body, headers=JSON), 422, said)
    assert len(jobs.all()) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 50_000])
def test_malformed_json(client, body):
    refused(client.post("/distill/v1/train", content=body, headers=JSON), 400, "JSON")


def test_a_page_elsewhere_can_not_post_unasked(client):
    body = json.dumps({"picture": PICTURE, "captions": "a"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused(client.post("/distill/v1/train", content=body, headers={"content-type": kind}), 400, "not JSON")
    refused(client.post("/distill/v1/train", content=body), 400, "not JSON")


def test_a_checkpoint_that_can_not_be_trained_is_said_without_folders(client, host):
    host.problem = f"{host.lora_dir}/some.ckpt is SDXL, not /a/b c/SD1.5 (see /x/y.txt, https://example.org/a/b)."
    try:
        error = refused(client.post("/distill/v1/train", json={"picture": PICTURE}), 503, "some.ckpt is SDXL")
        assert str(host.lora_dir) not in error["message"]
        assert "https://example.org/a/b" in error["message"]
        assert "/x/" not in error["message"]
        assert str(host.lora_dir) not in client.get("/distill/v1/status").text
    finally:
        host.problem = ""


def test_a_bug_is_an_answer_too(client, host, monkeypatch):
    monkeypatch.setattr(host, "loaded", lambda: 1 / 0)
    refused(client.get("/distill/v1/status"), 500, "ZeroDivisionError")
    monkeypatch.undo()
    assert client.get("/distill/v1/status").status_code == 200


def test_the_password_guards_every_route(jobs):
    policy = Policy(enabled=True, credentials={"me": "pä:ss", "you": "word"})
    with serving(jobs, policy) as client:
        routes = [
            ("GET", "schema"),
            ("GET", "status"),
            ("GET", "progress"),
            ("GET", "jobs"),
            ("GET", "jobs/x"),
            ("GET", "jobs/x/picture"),
            ("GET", "jobs/x/samples/0"),
            ("POST", "jobs/x/stop"),
            ("POST", "jobs/x/discard"),
            ("POST", "train"),
            ("POST", "caption"),
            ("POST", "caption/stop"),
            ("GET", "captioners"),
            ("GET", "captioners/x"),
            ("POST", "captioners/x"),
            ("POST", "captioners/x/cancel"),
            ("DELETE", "captioners/x"),
            ("GET", "words"),
            ("POST", "words"),
            ("POST", "words/stop"),
            ("GET", "library"),
            ("DELETE", "library/x"),
        ]
        for method, path in routes:
            answer = client.request(method, f"/distill/v1/{path}")
            refused(answer, 401, "Incorrect")
            assert answer.headers["www-authenticate"] == "Basic"
        for user, password in (("me", "word"), ("you", "pä:ss"), ("", ""), ("me", ""), ("ich", "pä:ss")):
            assert client.get("/distill/v1/status", auth=_basic(user, password)).status_code == 401
        for header in ("Basic", "Basic !!!", "Bearer abc", "Basic /////w=="):
            assert client.get("/distill/v1/status", headers={"authorization": header}).status_code == 401
        for user, password in policy.credentials.items():
            assert client.get("/distill/v1/status", auth=_basic(user, password)).status_code == 200


def _basic(user, password):
    return httpx.BasicAuth(user, password)


def test_the_policy_is_obeyed(jobs):
    with serving(jobs, Policy(enabled=False)) as client:
        assert client.get("/distill/v1/status").status_code == 404
        assert client.get("/alive").status_code == 200
    with serving(jobs, Policy(enabled=True, allow_url_requests=False, max_picture_mib=1)) as client:
        body = {"picture": "https://example.org/a.png"}
        refused(client.post("/distill/v1/caption", json=body), 403, "switched off")
        body = {"picture": "A" * 4 * 2**20}
        refused(client.post("/distill/v1/caption", json=body), 413, "larger than 2 MiB")


def test_pictures_of_the_own_network_come_only_where_that_is_allowed(jobs):
    with serving(jobs, Policy(enabled=True, forbid_local_requests=False)) as client:
        url = f"{client.base_url}/alive"
        refused(client.post("/distill/v1/caption", json={"picture": url}), 422, "not a picture")
    with serving(jobs, Policy(enabled=True)) as client:
        refused(client.post("/distill/v1/caption", json={"picture": f"{client.base_url}/alive"}), 422, "own network")


def test_nobody_makes_the_server_ask_a_server_of_theirs(jobs):
    with serving(jobs, Policy(enabled=True, endpoint="http://127.0.0.1:9/v1")) as client:
        body = {"picture": PICTURE, "options": {"endpoint": f"{client.base_url}/alive"}}
        refused(client.post("/distill/v1/caption", json=body), 403, "server's to choose")
