"""Which WebUI this process is."""

from __future__ import annotations

from distill.errors import CheckpointError
from distill.host import Host
from distill.hosts.webui import module


def detect() -> Host:
    """The running WebUI as a host; raises CheckpointError outside of one."""
    from distill.hosts.a1111 import A1111
    from distill.hosts.forge import BACKENDS, Forge

    if module("modules.shared") is None:
        raise CheckpointError("No WebUI runs in this process.", "Start one, or give a checkpoint file.")
    return Forge() if any(module(name) for name in BACKENDS) else A1111()
