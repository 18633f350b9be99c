"""The routes on a real server, asked by a real client, with real jobs behind them."""

import base64
import io
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from distill.api import Policy, add_routes
from distill.jobs import Jobs
from tests.models.host import TinyHost

QUICK = {"repeats": 2, "epochs": 2, "batch_size": 1, "sample_steps": 2, "trigger": "fip zor"}
QUICK |= {"network_dim": 4, "network_alpha": 4}
JSON = {"content-type": "application/json"}
LONG = {**QUICK, "repeats": 500, "sample_every": 0, "preview": False}


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


PICTURE = png(Image.radial_gradient("L").resize((96, 128)).convert("RGB"))
BLACK = png(Image.new("L", (64, 64)))


@contextmanager
def serving(jobs, policy):
    """A client of a server with our routes and one of somebody else's."""
    app = FastAPI()
    add_routes(app, jobs, policy)
    app.add_api_route("/alive", lambda: "yes")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not server.started:
                time.sleep(0.01)
            yield client
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return TinyHost(tmp_path_factory.mktemp("a server's folder") / "Lora")


@pytest.fixture(scope="module")
def jobs(host):
    made = Jobs(host)
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(jobs):
    with serving(jobs, Policy(enabled=True)) as made:
        yield made


def refused(answer, status, said):
    """The answer is an error of ours, with that status and those words."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert said in error["message"]
    assert set(error) == {"message", "hint"}
    return error
