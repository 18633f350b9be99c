"""A program trains by a recipe's name."""

import pytest

from distill.options import Options
from distill.presets import BUILT_IN, store
from tests.api.conftest import LONG, PICTURE, refused


@pytest.fixture
def own(host):
    folder = store.folder_of(host.work_dir)
    store.save(folder, "mine", Options.from_flat({"network_dim": 24, "seed": 9}))
    yield folder
    store.delete(folder, "mine")


def train(client, **body):
    return client.post("/distill/v1/train", json={"picture": PICTURE, "captions": "woman", **body})


def test_all_presets_are_listed(client, own):
    (own / "broken.json").write_text("{")
    told = client.get("/distill/v1/presets").json()
    (own / "broken.json").unlink()
    assert [each["name"] for each in told["presets"]] == [*(each.name for each in BUILT_IN), "mine"]
    assert told["presets"][-1] == {"name": "mine", "help": "", "own": True, "options": {"network_dim": 24}}
    assert len(told["problems"]) == 1
    assert "broken.json" in told["problems"][0]
    assert str(own) not in told["problems"][0]


@pytest.mark.parametrize(("name", "rank"), [("one image", 64), ("mine", 24), (None, 16)])
def test_a_preset_s_options_with_the_given_ones_over_them(client, own, name, rank):
    few = {key: LONG[key] for key in ("repeats", "sample_every", "preview")}
    answer = train(client, preset=name, options={**few, "reg_pictures": "none"})
    job = answer.json()
    client.post(f"/distill/v1/jobs/{job['id']}/discard")
    assert answer.status_code == 202
    assert job["options"]["network_dim"] == rank
    assert job["options"]["repeats"] == LONG["repeats"]
    assert job["options"]["seed"] == 0


def test_no_such_preset(client):
    refused(train(client, preset="Part two"), 422, "There is no preset 'Part two'.")
    refused(train(client, preset=["Part 2"]), 422, "The preset is not a name.")
    refused(train(client, preset="Part 2", options={"epochs": 0}), 422, "Epochs")
