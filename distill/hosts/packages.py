"""diffusers and peft into a WebUI's environment: only what is missing, and never a change to what is there.

Standard library alone: `install.py` runs this before anything else is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

EXTENSION = Path(__file__).resolve().parents[2]
REPORT = EXTENSION / "install-failed.txt"
WHEELS = EXTENSION / "wheels"
"""Put .whl files here to install without a network."""

NEEDED = ("diffusers", "peft")
# What diffusers 0.31 and peft 0.13 want that a WebUI may lack. Everything else is there already.
SMALL = ("importlib_metadata==8.5.0", "zipp==3.21.0")
TRY = "import diffusers.loaders.single_file_utils, peft; diffusers.UNet2DConditionModel, peft.LoraConfig"


def wanted(installed: Mapping[str, str]) -> list[str]:
    """What to ask pip for, beside the packages `installed` (name -> version); empty when nothing is missing."""
    # transformers decides: peft >= 0.14 needs its Cache, diffusers >= 0.36 a newer torch than A1111 pins.
    old = _version(installed.get("transformers", "0")) < (4, 49)
    pins = {"diffusers": "==0.31.0", "peft": "==0.13.2"} if old else {"diffusers": ">=0.35", "peft": ">=0.17"}
    return [name + pins[name] for name in NEEDED if name not in installed]


def install() -> str:
    """Install what is missing; returns why it could not, or "". Never raises, never changes an installed package."""
    installed = installed_packages()
    missing = wanted(installed)
    if not missing:
        return _report("")
    print(f"Distill: installing {' '.join(missing)} (nothing that is installed is changed)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder) / "constraints.txt"
        limits.write_text("\n".join(f"{name}=={version}" for name, version in installed.items()))
        said = _pip([*missing, "--constraint", str(limits)])
    if said:
        # The environment may contradict itself already, which pip refuses to add to: leave its solver out.
        small = [pin for pin in SMALL if _plain(pin.split("==")[0]) not in installed]
        said = said if _offline(said) else _pip([*missing, *small, "--no-deps"])
    return _report(said or _broken())


def installed_packages() -> dict[str, str]:
    """Name -> version of every distribution that this Python sees."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]  # a half-removed package has none
        if name and distribution.version:
            found.setdefault(_plain(name), distribution.version)
    return found


def problem() -> str:
    """Why Distill can't train in this Python, with the way out; "" when it can. Imports nothing."""
    missing = wanted(installed_packages())
    if not missing:
        return ""
    try:
        reason = REPORT.read_text("utf-8").strip()
    except OSError:
        reason = ""
    names = " and ".join(re.split("[=>]", name)[0] for name in missing)
    # With --no-deps even this command can't change what the WebUI brought.
    command = shlex.join([sys.executable, "-m", "pip", "install", "--no-deps", *missing, *SMALL])
    return " ".join(
        filter(None, (f"{names} could not be installed, so nothing can be trained yet.", reason, f"Run: {command}"))
    )


def _pip(arguments: Iterable[str]) -> str:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--prefer-binary"]
    command += ["--retries", "1", "--timeout", "15"]
    if WHEELS.is_dir():
        command += ["--find-links", str(WHEELS)]
    if os.environ.get("INDEX_URL"):  # A1111's own name for it
        command += ["--index-url", os.environ["INDEX_URL"]]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"pip could not be started: {error}."
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"pip ended with {done.returncode}."


def _broken() -> str:
    # In a process of its own: what fails here must not leave half-imported modules behind.
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, check=False)
    return (
        "" if done.returncode == 0 else "They are installed but fail: " + (done.stderr.strip() or "?").splitlines()[-1]
    )


def _report(said: str) -> str:
    reason = _reason(said) if said else ""
    try:
        if reason:
            REPORT.write_text(reason + "\n", "utf-8")
        else:
            REPORT.unlink(missing_ok=True)
    except OSError as error:
        print(f"Distill: {REPORT.name} could not be written: {error}", file=sys.stderr)
    if said:
        print(
            f"Distill: {said}\nDistill: the WebUI starts without it; the Distill tab says what to do.", file=sys.stderr
        )
    return reason


def _reason(said: str) -> str:
    if _offline(said):
        return "There was no connection to the package index."
    errors = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines()
    return f"pip said: {errors[-1].strip()[:300]}"


def _offline(said: str) -> bool:
    signs = ("Failed to establish a new connection", "Temporary failure in name resolution", "timed out", "No matching")
    return any(sign in said for sign in signs)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])
