"""Python processes of our own beside the host's: they see the host's packages and end when the host ends."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from distill.captions.captioner import CaptioningStopped, never

PROJECT = Path(__file__).parents[2]
POLL_S = 0.2

# PYTHONPATH would not do: an embedded Python with a ._pth file ignores it, and so does -I.
_BOOT = """
import json, runpy, sys
first, last, module = json.loads(sys.argv[1])
sys.path[:0] = first
sys.path += [path for path in last if path not in sys.path]
sys.argv[1:2] = []
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def python(module: str, *arguments: str, first: Sequence[Path] = ()) -> list[str]:
    """The command that runs a module of ours with the folders `first` before all of the host's packages.

    No environment variable and no current folder decides what is imported (-I).
    """
    paths = [[str(path) for path in (*first, PROJECT)], [path for path in sys.path if path], module]
    return [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, json.dumps(paths), *arguments]


class Child:
    """A process with pipes to its standard input and output; its errors are kept to be read when it has died.

    With `merged` they are part of its output.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, merged: bool = False
    ) -> None:
        self._heard: queue.Queue[bytes] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else self._errors,
                env=dict(os.environ if environment is None else environment),
                start_new_session=os.name != "nt",  # Ctrl-C in the host's terminal is the host's to answer
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:
            self._errors.close()
            raise

    def next_line(self, should_stop: Callable[[], bool] = never, timeout_s: float = float("inf")) -> str | None:
        """What it says next; None when it has closed its output. Raises CaptioningStopped, TimeoutError."""
        if self._heard is None:
            assert self.process.stdout is not None
            self._heard = queue.Queue()
            threading.Thread(target=_listen, args=(self.process.stdout, self._heard), daemon=True).start()
        until = time.monotonic() + timeout_s
        while True:
            try:
                line = self._heard.get(timeout=POLL_S)
            except queue.Empty:
                if should_stop():
                    raise CaptioningStopped from None
                if time.monotonic() > until:
                    raise TimeoutError from None
                continue
            if not line:
                self._heard.put(line)  # the end stays the end
            return line.decode("utf-8", "replace").rstrip() if line else None

    def last_error(self) -> str:
        """The last line that it wrote to its standard error; "" when there is none."""
        if self._errors.closed:
            return ""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 8192))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else ""

    def end(self, patience_s: float = 0.0) -> int:
        """Close its input, give it `patience_s` to end by itself, else kill it; its exit code. Safe to repeat."""
        process = self.process
        with contextlib.suppress(OSError, ValueError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()
        if self._heard is None and process.stdout:  # else the thread that listens closes it
            process.stdout.close()
        return process.returncode


def _listen(pipe: IO[bytes], heard: queue.Queue[bytes]) -> None:
    with pipe, contextlib.suppress(OSError):
        for line in pipe:
            heard.put(line)
    heard.put(b"")


def end_with_parent(lines: IO[bytes]) -> None:
    """For a thread of the child that is never spoken to: wait until the parent closes the pipe or dies, then exit."""
    with contextlib.suppress(OSError, ValueError):
        while lines.readline():
            pass
    os._exit(3)
