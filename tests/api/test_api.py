"""What a program can do: train, watch, stop, caption, tidy up."""

import io
import threading
import time

import pytest
from PIL import Image

from distill.options import each_option
from distill.plan import Plan, View
from tests.api.conftest import LONG, PICTURE, QUICK, png, refused


@pytest.fixture(scope="module")
def trained(client, jobs):
    """A job that was asked for by the API and has ended, as the API tells it."""
    answer = client.post(
        "/distill/v1/train",
        json={"picture": f"data:image/png;base64,{PICTURE}", "captions": "woman, red hair", "options": QUICK},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["active"]
    jobs.wait(answer.json()["id"], 60)
    return client.get(f"/distill/v1/jobs/{answer.json()['id']}").json()


def test_a_training_from_picture_to_pictures(client, host, trained):
    assert (trained["state"], trained["name"], trained["step"]) == ("done", "fip_zor", 4)
    assert len(trained["losses"]) == 4
    assert [saved["file"] for saved in trained["saved"]] == ["fip_zor-000001.safetensors", "fip_zor.safetensors"]
    assert trained["prompt"] == "fip zor woman, red hair, <lora:fip_zor:0.6>"
    assert trained["options"]["network_dim"] == 4
    job = f"/distill/v1/jobs/{trained['id']}"
    picture = client.get(f"{job}/picture")
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (96, 128)
    assert Image.open(io.BytesIO(client.get(f"{job}/samples/1").content)).size == (64, 64)
    for wrong in ("2", "-1", "x", "99999999999999999999", "%C2%B2"):
        refused(client.get(f"{job}/samples/{wrong}"), 404, "2 saved files")
    (listed,) = client.get("/distill/v1/jobs").json()["jobs"]
    assert listed == {key: value for key, value in trained.items() if key != "losses"}
    assert str(host.lora_dir.parent) not in client.get(job).text


def test_status_schema_and_progress(client, trained):
    status = client.get("/distill/v1/status").json()
    assert (status["host"], status["checkpoint"], status["problem"], status["job"]) == ("tiny", "tiny", "", None)
    options = client.get("/distill/v1/schema").json()["options"]
    assert [option["name"] for option in options] == [f.name for _, f, _ in each_option()]
    crop = next(option for option in options if option["name"] == "crop")
    assert (crop["type"], crop["choices"], crop["group"]) == ("string", ["square", "aspect"], "picture")
    rank = next(option for option in options if option["name"] == "network_dim")
    assert (rank["type"], rank["default"], rank["ge"], rank["le"]) == ("integer", 16, 1, 320)
    assert client.get("/distill/v1/progress").json() == {"job": None}


def test_views_mask_and_further_pictures_arrive(client, jobs):
    mask = Image.new("L", (48, 64))
    mask.paste(255, (0, 0, 24, 64))
    face = {"name": "face", "box": [0.25, 0, 1, 0.5], "words": "close-up", "repeats": 3}
    body = {
        "picture": PICTURE,
        "captions": "woman",
        "preset": "Flexible",
        "options": LONG,
        "views": [face, {"box": [0, 0.5, 1, 1], "captions": ["legs", "boots"]}],
        "mask": f"data:image/png;base64,{png(mask)}",
        "repeats": 2,
        "pictures": [{"picture": PICTURE, "captions": "woman, hat", "repeats": 4, "views": []}],
    }
    job = client.post("/distill/v1/train", json=body).json()
    try:
        plan = jobs.order(job["id"]).plan
    finally:
        client.post(f"/distill/v1/jobs/{job['id']}/discard")
        jobs.wait(job["id"], 60)
    assert plan.views == (
        View(name="face", box=(0.25, 0, 1, 0.5), words=("close-up",), repeats=3),
        View(name="view 2", box=(0, 0.5, 1, 1), tags=("legs", "boots")),
    )
    assert plan.mask.tobytes() == mask.tobytes()
    assert (plan.repeats, plan.more[0].source.size, plan.more[0].tags) == (2, (96, 128), ("woman", "hat"))
    assert plan.more[0].plan == Plan(views=(), repeats=4)
    assert jobs.order(job["id"]) is None  # of a job that has ended
    assert set(client.get("/distill/v1/schema").json()["train"]) == set(body)


def test_the_transparency_of_pictures_arrives(client, jobs):
    image = Image.new("RGBA", (96, 128), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (0, 0, 48, 128))
    further = [{"picture": png(image), "captions": "woman"}]
    body = {"picture": png(image), "captions": "woman", "options": LONG, "pictures": further}
    job = client.post("/distill/v1/train", json=body).json()
    try:
        plan = jobs.order(job["id"]).plan
    finally:
        client.post(f"/distill/v1/jobs/{job['id']}/discard")
        jobs.wait(job["id"], 60)
    assert plan.alpha.tobytes() == plan.more[0].plan.alpha.tobytes() == image.getchannel("A").tobytes()


def test_captions_are_proposed(client):
    answer = client.post("/distill/v1/caption", json={"picture": PICTURE, "options": {"captioner": "pocket"}})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["tags"]
    assert set(said["groups"]) == set(said["tags"])
    assert (said["class"] in ("woman", "man", "person"), said["by"]) == (True, ["pocket"])
    assert any("Blurred" in note for note in answer.json()["notes"])
    assert client.post("/distill/v1/caption", json={"picture": PICTURE}).json()["tags"] == []


def test_the_server_answers_while_captions_wait(client, host):
    answers, body = [], {"picture": PICTURE, "options": {"captioner": "pocket"}}
    with host.queue_lock:
        asked = threading.Thread(
            target=lambda: answers.append(client.post("/distill/v1/caption", json=body)), daemon=True
        )
        asked.start()
        time.sleep(0.1)
        begun = time.monotonic()
        assert client.get("/alive").json() == "yes"
        assert time.monotonic() - begun < 5
        assert answers == []
    asked.join(30)
    assert answers[0].status_code == 200


def test_progress_stop_and_discard(client, jobs):
    def begin():
        body = {"picture": PICTURE, "captions": ["a", "b"], "options": LONG}
        return client.post("/distill/v1/train", json=body).json()

    job = begin()
    while not (now := client.get("/distill/v1/progress").json()["job"]) or not now["step"]:
        time.sleep(0.01)
    assert now["id"] == job["id"]
    assert (now["state"], now["total"]) == ("running", 1000)
    assert isinstance(now["loss"], float)
    assert client.get("/distill/v1/status").json()["job"]["id"] == job["id"]
    assert client.post(f"/distill/v1/jobs/{job['id']}/stop").status_code == 200
    stopped = jobs.wait(job["id"], 30)
    assert stopped.state == "stopped"
    assert stopped.saved[-1].path.is_file()
    refused(client.post(f"/distill/v1/jobs/{job['id']}/stop"), 409, "ended already")
    assert client.post(f"/distill/v1/jobs/{job['id']}/discard").json()["state"] == "discarded"
    assert not stopped.saved[-1].path.exists()
    other = begin()
    client.post(f"/distill/v1/jobs/{other['id']}/discard")
    assert jobs.wait(other["id"], 30).state == "discarded"


def test_unknown_jobs(client):
    for method, path in (
        ("GET", ""),
        ("POST", "/stop"),
        ("POST", "/discard"),
        ("GET", "/picture"),
        ("GET", "/samples/0"),
    ):
        refused(client.request(method, f"/distill/v1/jobs/distill-none{path}"), 404, "no job")
    refused(client.get("/distill/v1/jobs/..%5C..%5Cx"), 404, "no job")


def test_the_library_lists_what_is_ours_and_deletes_to_the_trash(client, host, trained):
    (host.lora_dir / "somebodys.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    loras = {lora["name"]: lora for lora in client.get("/distill/v1/library").json()["loras"]}
    assert "somebodys" not in loras
    mine = loras["fip_zor"]
    assert mine["tags"] == ["fip zor woman", "red hair"]
    assert mine["prompt"] == "fip zor woman, red hair, <lora:fip_zor:0.6>"
    assert (mine["epochs"], mine["preview"], mine["preferred_weight"]) == (["fip_zor-000001"], True, 0.6)
    for name in ("somebodys", "..%5Cx", "fip_zor-000001", "%00"):
        refused(client.delete(f"/distill/v1/library/{name}"), 404, "no LoRA")
    assert client.delete("/distill/v1/library/..%2Fx").status_code == 404
    read_before = host.lists_read
    answer = client.delete("/distill/v1/library/fip_zor").json()
    assert answer["deleted"] == "fip_zor"
    assert host.lists_read == read_before + 1
    assert [path.name for path in host.lora_dir.glob("*")] == ["somebodys.safetensors"]
    trash = host.work_dir / "trash" / answer["trash"]
    moved = {path.name for path in trash.iterdir()}
    assert moved >= {"fip_zor.safetensors", "fip_zor.json", "fip_zor-000001.safetensors"}
    assert client.get("/distill/v1/library").json() == {"loras": []}
    refused(client.delete("/distill/v1/library/fip_zor"), 404, "no LoRA")
