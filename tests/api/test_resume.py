"""A server that is killed while it trains, and what the next one makes of it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import torch
from safetensors import safe_open

from tests.api.conftest import PICTURE, QUICK, refused

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import socket, sys
from pathlib import Path
import torch; torch.set_num_threads(1)
import uvicorn
from fastapi import FastAPI
from distill.api import Policy, add_routes
from distill.jobs import Jobs
from tests.models.host import TinyHost
app = FastAPI()
add_routes(app, Jobs(TinyHost(Path(sys.argv[1]))), Policy(enabled=True))
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off")).run(sockets=[listening])
"""
BODY = {
    "picture": PICTURE,
    "captions": "woman, red hair",
    "views": [{"name": "face", "box": [0.1, 0.1, 0.9, 0.9], "repeats": 2}],
    "options": {**QUICK, "repeats": 6, "epochs": 4, "view_min_px": 64, "upscaler": "lanczos", "ema_decay": 0.5},
}


@contextmanager
def serving(folder):
    """(process, client) of a server of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / "Lora")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    try:
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}/distill/v1"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    client.get("/progress")
                    break
                except httpx.ConnectError:
                    time.sleep(0.1)
            yield process, client
    finally:
        process.kill()
        process.communicate()


def killed_at(process, client, job_id, step):
    """It is ended while it trains, a few steps after `step` at most."""
    until = time.monotonic() + 120
    while (now := client.get(f"/jobs/{job_id}").json())["step"] < step:
        assert now["active"], now
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def ended(client, job_id):
    until = time.monotonic() + 120
    while (job := client.get(f"/jobs/{job_id}").json())["active"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    return job


def tensors(path):
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


@pytest.mark.long
@pytest.mark.slow
def test_a_job_outlives_two_killed_servers(tmp_path):
    with serving(tmp_path / "whole") as (_, client):
        whole = ended(client, client.post("/train", json=BODY).json()["id"])
    with serving(tmp_path / "cut") as (process, client):
        job_id = client.post("/train", json=BODY).json()["id"]
        refused(client.post(f"/jobs/{job_id}/resume"), 409, "still at work")
        killed_at(process, client, job_id, 8)
    with serving(tmp_path / "cut") as (process, client):
        cut = client.get(f"/jobs/{job_id}").json()
        assert (cut["state"], cut["can_resume"]) == ("cut_off", True)
        answer = client.post(f"/jobs/{job_id}/resume")
        assert (answer.status_code, answer.json()["id"], answer.json()["active"]) == (202, job_id, True)
        killed_at(process, client, job_id, 14)
    with serving(tmp_path / "cut") as (_, client):
        client.post(f"/jobs/{job_id}/resume")
        done = ended(client, job_id)
        refused(client.post(f"/jobs/{job_id}/resume"), 409, "Nothing is kept")
    assert (done["state"], done["can_resume"]) == ("done", False)
    for name in ("losses", "name", "step", "total", "tags", "prompt", "options"):
        assert done[name] == whole[name], name
    assert [(s["file"], s["preview"]) for s in done["saved"]] == [(s["file"], s["preview"]) for s in whole["saved"]]
    for saved in done["saved"]:
        a, b = (tensors(tmp_path / way / "Lora" / saved["file"]) for way in ("whole", "cut"))
        assert all(torch.equal(a[key], b[key]) for key in a)
