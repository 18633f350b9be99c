"""Tests run tiny real models; one thread makes those many times faster."""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the servers that tests start, too: two busy teams slow each other

import pytest
import torch

torch.set_num_threads(1)
gc.disable()  # until all is imported: none of that is garbage

# Shared among workers by files, the longest must not come last: then one works on it while the others are done.
LONGEST = (
    "tests/test_main_job.py",
    "tests/browser/test_serve.py",
    "tests/training/test_graphed.py",
    "tests/hosts/test_contract.py",
    "tests/jobs/test_jobs.py",
    "tests/training/test_loop.py",
    "tests/test_pipeline.py",
    "tests/test_cli.py",
    "tests/captions/test_vlm.py",
    "tests/hosts/test_standalone.py",
)


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):  # xdist would begin with the files of the most tests
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


def pytest_collection_finish():
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def quick_collections():
    """Whatever borrows a model ends with a garbage collection, which need not look at torch and transformers again."""
    gc.collect()
    gc.freeze()  # what was imported meanwhile, too


def pytest_addoption(parser):
    group = parser.getgroup("webui", "a running WebUI for `-m webui`")
    group.addoption("--webui-dir", help="the WebUI's folder")
    group.addoption("--webui-url", help="where it answers, for example http://127.0.0.1:7860")
    group.addoption("--webui-size", type=int, default=64, help="edge of the pictures to make, in pixels")
    group.addoption("--webui-shots", help="folder for screenshots")
    group.addoption("--chromium", default="/usr/bin/chromium", help="the browser to click with")
