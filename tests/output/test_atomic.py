"""A file is there whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distill.errors import OutputError
from distill.output import atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    atomic.write(path, b"first")
    with pytest.raises(OutputError, match="exists already"):
        atomic.write(path, b"second")
    assert path.read_bytes() == b"first"
    atomic.write(path, b"second", replace=True)
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a.safetensors"]


def test_disks_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links on this disk")

    monkeypatch.setattr(os, "link", no_link)
    test_writes_once(tmp_path)


def test_the_folder_is_gone_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder is not there"):
        atomic.write(tmp_path / "gone" / "a.json", b"")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder is a file"):
        atomic.write(tmp_path / "file" / "a.json", b"")
    with pytest.raises(OutputError, match="file"):
        atomic.check_writable(tmp_path / "file")
    with pytest.raises(OutputError, match="too long"):
        atomic.write(tmp_path / ("a" * 300), b"")


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    atomic.check_writable(tmp_path / "models" / "Lora")
    assert names(tmp_path / "models" / "Lora") == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk that we can make")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        with pytest.raises(OutputError, match="disk is full") as caught:
            atomic.write(disk / "a.safetensors", bytes(2**20))
        assert "\n" not in str(caught.value)
        assert names(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="larger than is allowed"):
            atomic.write(tmp_path / "a.safetensors", bytes(2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="not permitted"):
            atomic.check_writable(tmp_path)
        with pytest.raises(OutputError, match="not permitted"):
            atomic.write(tmp_path / "a.json", b"")
    finally:
        tmp_path.chmod(0o700)
