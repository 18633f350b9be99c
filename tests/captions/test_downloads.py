"""The real client in a child process against a small hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.captions.fetching import downloads
from distill.captions.fetching.catalogue import Model
from distill.captions.fetching.downloads import Download, download, installed, is_complete, offer, remove
from distill.errors import CaptionError
from tests.hub import COMMIT, Hub

WEIGHTS = bytes(range(256)) * 1200  # 300 kB
FILES = {
    "config.json": b'{"model_type": "blip"}',
    "vocab.txt": b"[PAD]\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled" * 3000,
    "onnx/model.json": b"{}",
}
TINY = Model(
    name="tiny",
    label="",
    repository="distill-tests/tiny",
    licence="MIT",
    size_mib=1,
    family="blip",
)
PATIENCE_S = 40.0


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub(dict(FILES)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(downloads, "PAUSE_S", 0.01)
        yield hub


def until(started: Download, done_bytes: int) -> None:
    """Until so much is on the disk."""
    end = time.monotonic() + PATIENCE_S
    while started.snapshot().done_bytes < done_bytes:
        assert started.snapshot().state == "running", started.snapshot()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_asks_then_fetches_weights_and_texts_of_one_commit(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    before = offer(TINY, tmp_path)
    assert (before.revision, before.size_mib, before.problem) == ("", 1, "")
    assert hub.seen == []  # nothing is asked before a person says so
    assert offer(TINY, tmp_path, ask=True).revision == COMMIT
    assert not (tmp_path / "tiny").exists()

    ended = download(TINY, tmp_path).wait(PATIENCE_S)

    assert ended.state == "done", ended
    assert ended.done_bytes == ended.total_bytes == sum(len(FILES[name]) for name in list(FILES)[:3])
    folder = tmp_path / "tiny"
    assert {p.name for p in folder.iterdir()} - {".distill-lock"} == {*list(FILES)[:3], "distill-model.json"}
    assert all((folder / name).read_bytes() == FILES[name] for name in list(FILES)[:3])
    assert json.loads((folder / "distill-model.json").read_text())["revision"] == COMMIT
    assert is_complete(tmp_path, TINY)
    assert [seen for seen in hub.seen if seen.host == "hub" and seen.token != "Bearer hf_secret"] == []
    assert {seen.token for seen in hub.seen if seen.host == "cdn"} == {""}  # the token goes to the hub alone


@pytest.mark.slow
def test_goes_on_after_cancel_and_asks_for_the_rest_only(hub: Hub, tmp_path: Path) -> None:
    hub.bytes_per_s = 150_000
    started = download(TINY, tmp_path)
    assert download(TINY, tmp_path) is started  # one at a time
    with pytest.raises(CaptionError, match="being fetched"):
        remove(tmp_path, TINY)
    until(started, 60_000)
    cancelled = started.cancel()
    assert cancelled.state == "cancelled"
    assert cancelled.done_bytes < cancelled.total_bytes
    assert started.cancel() == started.snapshot() == cancelled
    assert not is_complete(tmp_path, TINY)
    kept = (tmp_path / "tiny" / "model.safetensors.part").stat().st_size
    asked = len([seen for seen in hub.seen if "/api/" in seen.path])

    hub.bytes_per_s = 0
    assert offer(TINY, tmp_path).revision == COMMIT
    ended = download(TINY, tmp_path).wait(PATIENCE_S)

    assert ended.state == "done", ended
    assert hub.sent("model.safetensors") == [0, kept]
    assert len([seen for seen in hub.seen if "/api/" in seen.path]) == asked  # the commit is the one noted
    assert (tmp_path / "tiny" / "model.safetensors").read_bytes() == WEIGHTS
    remove(tmp_path, TINY)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.slow
def test_takes_up_a_lost_connection(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000, 50_000]
    assert download(TINY, tmp_path).wait(PATIENCE_S).state == "done"
    assert hub.sent("model.safetensors") == [0, 100_000, 150_000]


@pytest.mark.slow
def test_a_connection_that_stays_lost_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000] + [0] * 20
    ended = download(TINY, tmp_path).wait(PATIENCE_S)
    assert ended.state == "failed"
    assert "was lost at 1 of 1 MiB of model.safetensors" in ended.error
    assert "goes on from there" in ended.hint
    hub.cuts = []
    hub.ranges = False  # and a server that knows no ranges begins again
    assert download(TINY, tmp_path).wait(PATIENCE_S).state == "done"
    assert (tmp_path / "tiny" / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.slow
def test_throws_a_damaged_file_away(hub: Hub, tmp_path: Path) -> None:
    hub.damaged = True
    ended = download(TINY, tmp_path).wait(PATIENCE_S)
    assert ended.state == "failed"
    assert "model.safetensors arrived damaged" in ended.error
    assert not list((tmp_path / "tiny").glob("model.safetensors*"))
    assert (tmp_path / "tiny" / "config.json").is_file()
    hub.damaged = False
    assert download(TINY, tmp_path).wait(PATIENCE_S).state == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "", "does not give"),
        (403, "GatedRepo", "does not give"),
        (404, "RepoNotFound", "is not on the hub"),
        (500, "", "answered 500"),
    ],
)
def test_says_why_the_hub_refuses(hub: Hub, tmp_path: Path, status: int, code: str, said: str) -> None:
    hub.status, hub.code = status, code
    ended = download(TINY, tmp_path).wait(PATIENCE_S)
    assert ended.state == "failed"
    assert said in ended.error
    assert ended.hint
    assert "\n" not in ended.error + ended.hint


@pytest.mark.slow
def test_says_that_the_hub_is_not_reached(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "can't be reached" in offer(TINY, tmp_path, ask=True).problem


@pytest.mark.slow
def test_a_moved_commit_and_a_model_without_safetensors(hub: Hub, tmp_path: Path) -> None:
    moved = Model(**{**vars(TINY), "revision": "f" * 40})
    assert "not at this commit" in download(moved, tmp_path).wait(PATIENCE_S).error
    del hub.files["model.safetensors"]
    assert "no .safetensors weights" in download(TINY, tmp_path).wait(PATIENCE_S).error


@pytest.mark.slow
def test_the_child_says_that_it_is_offline(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in download(TINY, tmp_path).wait(PATIENCE_S).error
    assert hub.seen == []


def test_offline_is_said_before(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in offer(TINY, tmp_path, ask=True).problem
    assert hub.seen == []


def test_a_full_disk_is_told_before(hub: Hub, tmp_path: Path) -> None:
    large = Model(**{**vars(TINY), "size_mib": (shutil.disk_usage(tmp_path).free >> 20) + 1})
    assert "free some space" in offer(large, tmp_path).problem


@pytest.mark.slow
def test_a_full_disk_is_told_by_the_child(hub: Hub, tmp_path: Path) -> None:
    plan = {"name": "tiny", "repository": TINY.repository, "revision": COMMIT, "complete": False}
    too_much = {"name": "model.safetensors", "size": 1 << 60, "sha256": "", "git": ""}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "distill-model.json").write_text(json.dumps({**plan, "files": [too_much]}))
    ended = download(TINY, tmp_path).wait(PATIENCE_S)
    assert "MiB more in" in ended.error
    assert hub.seen == []


@pytest.mark.slow
def test_another_program_that_fetches_it_is_not_disturbed(hub: Hub, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "tiny").mkdir()
    with FileLock(str(tmp_path / "tiny" / ".distill-lock")):
        assert "Another program" in download(TINY, tmp_path).wait(PATIENCE_S).error
    assert hub.seen == []


def test_another_folder_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine.txt").write_text("mine")
    with pytest.raises(CaptionError, match="left alone"):
        remove(tmp_path, TINY)
    assert installed(tmp_path) == ()
    assert (tmp_path / "tiny" / "mine.txt").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_the_download_ends_with_the_program_that_started_it(hub: Hub, tmp_path: Path) -> None:
    hub.bytes_per_s = 20_000
    code = (
        "import sys, time; from pathlib import Path; from tests.captions.test_downloads import TINY, download, until\n"
        f"started = download(TINY, Path({str(tmp_path)!r})); until(started, 1000)\n"
        "print(started._child.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while _lives(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
