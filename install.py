"""Set-up. Stand-alone it makes `.venv`, installs Distill there and runs the rest of its arguments:

    python3 install.py demo     the main job on the built-in pocket checkpoint
    python3 install.py test     the tests
    python3 install.py train picture.png ...     any other `distill` command

`TORCH_COMMAND` replaces how torch is installed, as in A1111: "pip install torch --index-url ..." for your GPU.
`--venv DIR` and `--constraints FILE`, given first, choose another environment and package set.
A WebUI runs this file at its start, without arguments and with itself on the path; then it installs only diffusers and
peft, only where they are missing, and changes nothing that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH_COMMAND = "pip install torch==2.13.0"


def main() -> int:
    """Set up what is missing, then run the command; returns its exit code."""
    if sys.version_info < (3, 10):
        print(f"Distill needs Python 3.10 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    if _inside_webui():
        return _install_beside_webui()
    arguments = _parser().parse_args()
    command = arguments.command
    try:
        python = _environment(arguments.venv, arguments.constraints)
    except subprocess.CalledProcessError as error:
        print(f"Set-up failed in: {shlex.join(map(str, error.cmd))}. Run the same command again.", file=sys.stderr)
        return 1
    if not command:
        print(f"Distill is installed in {arguments.venv}. Next: python3 install.py demo")
        return 0
    # Two at a time: the tests of one file stay together, and a laptop stays usable.
    tests = ["pytest", str(HERE / "tests"), f"--rootdir={HERE}", "--numprocesses=2", "--dist=loadfile"]
    module = tests if command[0] == "test" else ["distill", command[0]]
    return subprocess.call([str(python), "-m", *module, *command[1:]])


def _inside_webui() -> bool:
    # A1111 and its descendants put their own folder on the path.
    try:
        return importlib.util.find_spec("modules.launch_utils") is not None
    except ModuleNotFoundError:
        return False


def _install_beside_webui() -> int:
    sys.path.insert(0, str(HERE))
    from distill.hosts.packages import install

    install()
    return 0  # whatever came of it: the WebUI starts, and the tab says what is missing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=HERE / ".venv", help="environment to make or use")
    parser.add_argument("--constraints", type=Path, help="pip constraints, for example requirements/a1111.txt")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="demo, test, or any other distill command")
    return parser


def _environment(folder: Path, constraints: Path | None) -> Path:
    """The environment's python, with everything installed. Done once for a given state of the project's needs."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    torch_command = os.environ.get("TORCH_COMMAND") or TORCH_COMMAND
    wanted = _digest(torch_command, constraints)
    stamp = folder / "distill-installed.txt"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Setting up {folder} (once; a few minutes, torch is large)", flush=True)
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip"]
    limits = ["--constraint", str(constraints)] if constraints else []
    words = shlex.split(torch_command)
    subprocess.run([*pip, *words[words.index("pip") + 1 :], *limits] if "pip" in words else words, check=True)
    subprocess.run([*pip, "install", "--quiet", "--editable", f"{HERE}[dev]", *limits], check=True)
    stamp.write_text(wanted)
    return python


def _digest(torch_command: str, constraints: Path | None) -> str:
    needs = (HERE / "pyproject.toml").read_text() + (constraints.read_text() if constraints else "")
    return hashlib.sha256(f"{sys.version}\n{torch_command}\n{needs}".encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
