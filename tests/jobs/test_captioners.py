"""The captioners of a host: listed, fetched from a real little hub, used, removed."""

import json
import time

import pytest

from distill.captions.backends import Desk, obstacle, open_captioner, resolved
from distill.captions.fetching import catalogue
from distill.captions.fetching.catalogue import Model
from distill.errors import CaptionError
from distill.jobs.captioners import SIDECAR, Captioners
from distill.options import CaptionOptions
from tests.hub import COMMIT, Hub
from tests.models.host import TinyHost
from tests.models.tiny_blip import blip_in

NONE = CaptionOptions()


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "lora")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one captioner, which the catalogue knows."""
    folder = tmp_path / "blip"
    folder.mkdir()
    files = {file.name: file.read_bytes() for file in blip_in(folder).iterdir()}
    with Hub(files) as serving:
        known = Model(
            name="tiny-blip",
            label="Tiny",
            repository=serving.repository,
            revision=COMMIT,
            licence="MIT",
            size_mib=1,
            family="blip",
        )
        monkeypatch.setattr(catalogue, "MODELS", (known,))
        monkeypatch.setattr("distill.captions.backends.NAMES", ("auto", "none", "pocket", "endpoint", "tiny-blip"))
        monkeypatch.setattr("distill.captions.backends.BEST_FIRST", ("tiny-blip",))
        monkeypatch.setattr("distill.jobs.captioners.NAMES", ("auto", "none", "pocket", "endpoint", "tiny-blip"))
        monkeypatch.setenv("HF_ENDPOINT", serving.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield serving


def ended(there, name, timeout_s=60.0):
    until = time.monotonic() + timeout_s
    while (progress := there.progress(name)).state == "running" and time.monotonic() < until:
        time.sleep(0.05)
    return progress


def test_what_is_there_is_told_without_loading_anything(host):
    by_name = {choice.name: choice for choice in Captioners(host).choices(NONE)}
    assert (by_name["none"].note, by_name["pocket"].note) == ("", "")
    assert "address" in by_name["endpoint"].note
    assert "not fetched yet (973 MiB, Apache-2.0)" in by_name["smolvlm-500m"].note
    assert by_name["smolvlm-500m"].can_fetch
    assert "webui-blip" not in by_name  # this host brings none along


@pytest.mark.slow
def test_a_captioner_is_offered_fetched_used_and_removed(host, hub):
    there = Captioners(host)
    offer = there.offer("tiny-blip", ask=True)
    assert (offer.revision, offer.licence, offer.problem) == (COMMIT, "MIT", "")
    desk = Desk(folder=host.work_dir / "captioners")
    with pytest.raises(CaptionError, match="can't be used yet") as caught:
        open_captioner("tiny-blip", NONE, desk)
    assert "1 MiB, MIT" in caught.value.hint
    assert resolved(NONE, desk) == ()
    assert there.progress("tiny-blip") is None
    there.fetch("tiny-blip")
    assert ended(there, "tiny-blip").state == "done", there.progress("tiny-blip")
    assert obstacle("tiny-blip", NONE, desk) == ""
    assert resolved(NONE, desk) == ("tiny-blip",)  # auto takes what is there
    with open_captioner("tiny-blip", NONE, desk) as captioner:
        assert captioner.name == "tiny-blip"
    noted = json.loads((offer.folder / "distill-model.json").read_text())
    assert (noted["revision"], noted["licence"]) == (COMMIT, "MIT")
    there.remove("tiny-blip")
    assert not offer.folder.exists()


@pytest.mark.slow
def test_a_download_is_cancelled_and_taken_up_again(host, hub):
    hub.bytes_per_s = 20_000
    there = Captioners(host)
    there.fetch("tiny-blip")
    until = time.monotonic() + 30
    while there.progress("tiny-blip").done_bytes < 10_000 and time.monotonic() < until:
        time.sleep(0.05)
    assert there.active()
    there.cancel("tiny-blip")
    cancelled = there.progress("tiny-blip")
    assert cancelled.state == "cancelled"
    assert 0 < cancelled.done_bytes < cancelled.total_bytes
    hub.bytes_per_s = 0
    there.fetch("tiny-blip")
    assert ended(there, "tiny-blip").state == "done"
    assert hub.sent("model.safetensors")[-1] > 0  # only the rest was asked for


def test_an_unknown_name_is_refused(host):
    with pytest.raises(CaptionError, match="no captioner 'nobody'"):
        Captioners(host).fetch("nobody")


def test_the_sidecars_packages_are_offered_with_their_versions(host):
    offer = Captioners(host).offer(SIDECAR)
    assert "transformers==4." in offer.repository
    assert offer.size_mib < 50
