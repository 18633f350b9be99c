"""Tests run tiny real models; one thread makes those many times faster."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the servers that tests start, too: two busy teams slow each other

import torch

torch.set_num_threads(1)


def pytest_addoption(parser):
    group = parser.getgroup("webui", "a running WebUI for `-m webui`")
    group.addoption("--webui-dir", help="the WebUI's folder")
    group.addoption("--webui-url", help="where it answers, for example http://127.0.0.1:7860")
    group.addoption("--webui-size", type=int, default=64, help="edge of the pictures to make, in pixels")
    group.addoption("--webui-shots", help="folder for screenshots")
    group.addoption("--chromium", default="/usr/bin/chromium", help="the browser to click with")
