"""The sidecar's real process; the private packages are an empty folder here, and PyPI's in the slow tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from distill.captions.captioner import CaptioningStopped
from distill.captions.children import python
from distill.captions.sidecar.captioner import SidecarCaptioner
from distill.captions.sidecar.packages import (
    FOR_NEW_TORCH,
    FOR_OLD_TORCH,
    MARK,
    chosen,
    install,
    installed,
    packages,
    remove,
    size,
)
from distill.captions.vlm.blip import BlipCaptioner
from distill.errors import CaptionError

PICTURE = Image.linear_gradient("L").convert("RGB")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As if the packages were installed, but the folder is empty, so the host's are used."""
    packages(tmp_path).mkdir(parents=True)
    (packages(tmp_path) / MARK).write_text(json.dumps(chosen().pins))
    return tmp_path


def pid_of(captioner: SidecarCaptioner) -> int:
    assert captioner._child is not None
    return captioner._child.process.pid


def lives(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_says_what_the_captioner_says_in_process_and_changes_nothing_here(root: Path, blip_folder: Path) -> None:
    with BlipCaptioner(blip_folder) as here:
        expected = here.say(PICTURE)
    modules, path, environment = set(sys.modules), list(sys.path), dict(os.environ)
    with SidecarCaptioner(blip_folder, root=root, name="tiny") as captioner:
        assert captioner.name == "tiny"
        pid = pid_of(captioner)
        assert captioner.say(PICTURE) == captioner.say(PICTURE) == expected
        assert captioner.transformers == metadata.version("transformers")
    assert not lives(pid)
    assert (list(sys.path), dict(os.environ)) == (path, environment)
    assert not [name for name in set(sys.modules) - modules if not name.startswith(("distill", "PIL", "encodings"))]
    with pytest.raises(CaptionError, match="closed"):
        captioner.say(PICTURE)


def test_stop_ends_the_process(root: Path, blip_folder: Path) -> None:
    captioner = SidecarCaptioner(blip_folder, root=root)
    pid = pid_of(captioner)
    began, asked = time.monotonic(), []
    with pytest.raises(CaptioningStopped):
        captioner.say(PICTURE, lambda: len(asked) > 1 or asked.append(1) or False)
    assert time.monotonic() - began < 2.0
    assert not lives(pid)


@pytest.mark.slow
def test_tells_what_the_child_died_of(root: Path, blip_folder: Path, monkeypatch) -> None:
    (packages(root) / "transformers.py").write_text("raise ImportError('half of transformers is missing')")
    with SidecarCaptioner(blip_folder, root=root) as captioner, pytest.raises(CaptionError) as told:
        captioner.say(PICTURE)
    assert told.value.message.endswith("ImportError: half of transformers is missing")
    assert told.value.hint


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_tells_that_memory_ran_out(root: Path, blip_folder: Path) -> None:
    with SidecarCaptioner(blip_folder, root=root) as captioner:
        os.kill(pid_of(captioner), signal.SIGKILL)
        with pytest.raises(CaptionError, match="memory ran out"):
            captioner.say(PICTURE)


@pytest.mark.slow
def test_an_error_of_the_child_is_ours(root: Path, tmp_path: Path) -> None:
    with SidecarCaptioner(tmp_path, root=root) as captioner, pytest.raises(CaptionError, match=r"config\.json"):
        captioner.say(PICTURE)


def test_nothing_is_started_without_packages(tmp_path: Path, blip_folder: Path) -> None:
    with pytest.raises(CaptionError, match="does not have yet"):
        SidecarCaptioner(blip_folder, root=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_the_child_ends_with_its_parent(root: Path, blip_folder: Path) -> None:
    code = (
        "import time; from pathlib import Path; from PIL import Image\n"
        "from distill.captions.sidecar.captioner import SidecarCaptioner\n"
        f"c = SidecarCaptioner(Path({str(blip_folder)!r}), root=Path({str(root)!r})); c.say(Image.new('RGB', (9, 9)))\n"
        "print(c._child.process.pid, flush=True); time.sleep(60)"
    )
    project = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=project)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while lives(pid) and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("torch", "transformers", "expected"),
    [
        ("2.1.2+cu121", "4.30.2", FOR_OLD_TORCH),
        ("2.3.1", "4.46.1", FOR_OLD_TORCH),
        ("2.7.0", "4.30.2", FOR_OLD_TORCH),
        ("2.4.0", "4.46.1", FOR_NEW_TORCH),
        ("2.13.0+cpu", "5.23.0", FOR_NEW_TORCH),
    ],
)
def test_chooses_by_what_is_there(torch: str, transformers: str, expected: object) -> None:
    assert chosen(torch, transformers) is expected


@pytest.mark.slow
def test_a_failed_install_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    said: list[str] = []
    with pytest.raises(CaptionError, match="No matching distribution found for transformers"):
        install(tmp_path, on_line=said.append)
    assert said
    assert list(tmp_path.iterdir()) == []
    assert not installed(tmp_path)


def _reaches_pypi() -> bool:
    try:
        socket.create_connection(("pypi.org", 443), timeout=5).close()
    except OSError:
        return False
    return True


def _frozen() -> list[str]:
    return sorted(f"{found.metadata['Name']}=={found.version}" for found in metadata.distributions())


@pytest.mark.slow
def test_private_packages_from_pypi_run_a_model_that_the_host_does_not_know(tmp_path: Path) -> None:
    if not _reaches_pypi():
        pytest.skip("PyPI can't be reached from here")
    before, modules = _frozen(), sys.modules.get("transformers")
    said: list[str] = []
    asked: list[int] = []
    with pytest.raises(CaptioningStopped):
        install(tmp_path, should_stop=lambda: asked.append(1) or True)
    assert list(tmp_path.iterdir()) == []

    where = install(tmp_path, on_line=said.append)

    assert where == packages(tmp_path)
    assert installed(tmp_path)
    assert any("Successfully installed" in line for line in said)
    assert 40 << 20 < size(tmp_path) < 200 << 20
    assert _frozen() == before
    assert install(tmp_path) == where  # at once, nothing is asked

    built = subprocess.run(
        python("tests.captions.sidecar_model", str(tmp_path / "model"), first=[where]), capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    with SidecarCaptioner(tmp_path / "model", root=tmp_path) as captioner:
        assert isinstance(captioner.say(PICTURE), str)
        assert captioner.transformers == chosen().transformers
    assert _frozen() == before
    assert sys.modules.get("transformers") is modules
    remove(tmp_path)
    assert not installed(tmp_path)
