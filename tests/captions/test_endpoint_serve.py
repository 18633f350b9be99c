"""A real server of OpenAI's protocol: `transformers serve` over a tiny vision model with random weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import transformers

from distill.captions.captioner import CaptioningStopped
from distill.captions.endpoint.captioner import EndpointCaptioner, models
from distill.errors import CaptionError
from tests.captions.endpoint_server import SMALL
from tests.models import tiny_vlms

NEEDED = [name for name in ("openai", "uvicorn", "fastapi", "pydantic") if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(int(transformers.__version__.split(".")[0]) < 5, reason="transformers serve came with 5"),
    pytest.mark.skipif(bool(NEEDED), reason=f"transformers serve needs {', '.join(NEEDED)}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Idefics3: the others' video processors want torchvision."""
    return tiny_vlms.build("idefics3", tmp_path_factory.mktemp("models") / "tiny-idefics3")


@pytest.fixture(scope="module")
def base(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    (home / "hub").mkdir()  # /v1/models lists what lies here, and fails without it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", place.split(":")[1]]
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_for(server, place, home / "log")
        yield place
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(server: subprocess.Popen[bytes], place: str, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            models(place)
        except CaptionError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text()[-3000:])


def test_a_real_server_describes_a_picture(base: str, folder: Path) -> None:
    with EndpointCaptioner(base, str(folder)) as captioner:
        said = captioner.say(SMALL)
        assert said
        assert captioner.say(SMALL) == said
        assert captioner.name == f"{folder} at {base}"


def test_its_own_words_for_a_wrong_model(base: str, folder: Path) -> None:
    assert models(base) in ([], [str(folder)])
    with pytest.raises(
        CaptionError, match=r"has no model 'no-such'\. It (says: Server is pinned to|has: .*tiny-idefics3)"
    ):
        EndpointCaptioner(base, "no-such").say(SMALL)


def test_stopping_while_it_thinks(base: str, folder: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(CaptioningStopped):
        EndpointCaptioner(base, str(folder)).say(SMALL, stop.is_set)
    assert time.monotonic() - started < 1
    assert models(base) in ([], [str(folder)])  # it still answers; newer ones list what they serve
