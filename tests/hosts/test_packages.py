"""install.py inside a WebUI: a real pip, an index of tiny wheels, and an environment that must not change."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from distill.hosts import packages

PROJECT = Path(__file__).resolve().parents[2]
DIFFUSERS = {
    "diffusers/__init__.py": "class UNet2DConditionModel: pass\n",
    "diffusers/loaders/__init__.py": "",
    "diffusers/loaders/single_file_utils.py": "",
}
PEFT = {"peft/__init__.py": "class LoraConfig: pass\n"}


def wheel(folder: Path, name: str, version: str, files: dict[str, str], needs: tuple[str, ...] = ()) -> None:
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as out:
        record = []
        for path, text in files.items():
            out.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            record.append(f"{path},sha256={digest},{len(text)}")
        out.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]))


class Environment:
    """A WebUI's environment with old packages in it, and an index that has newer ones."""

    def __init__(self, folder: Path) -> None:
        self.index, self.webui, self.project = folder / "index", folder / "webui", folder / "extension"
        venv.create(folder / "venv", with_pip=True)
        self.python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        (self.webui / "modules").mkdir(parents=True)
        (self.webui / "modules" / "__init__.py").write_text("")
        (self.webui / "modules" / "launch_utils.py").write_text("")
        (self.project / "distill" / "hosts").mkdir(parents=True)
        for name in ("install.py", "distill/__init__.py", "distill/hosts/__init__.py", "distill/hosts/packages.py"):
            shutil.copy(PROJECT / name, self.project / name)
        wheel(self.index, "transformers", "4.30.2", {"transformers.py": ""})
        wheel(self.index, "safetensors", "0.4.2", {"safetensors.py": ""})
        wheel(self.index, "transformers", "5.0.0", {"transformers.py": ""})
        wheel(self.index, "safetensors", "0.9.0", {"safetensors.py": ""})
        self.pip("install", "transformers==4.30.2", "safetensors==0.4.2")

    def pip(self, *arguments: str) -> str:
        command = [self.python, "-m", "pip", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._env()).stdout

    def freeze(self) -> set[str]:
        return set(self.pip("freeze").split())

    def start_webui(self) -> subprocess.CompletedProcess[str]:
        """What a WebUI does at its start."""
        env = self._env() | {"PYTHONPATH": f"{self.webui}{os.pathsep}"}
        command = [self.python, self.project / "install.py"]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.webui, env=env)

    def banner(self) -> str:
        code = "from distill.hosts.packages import problem; print(problem())"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True, cwd=self.project)
        return done.stdout.strip()

    def _env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "INDEX_URL"))}
        return kept | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("webui"))


@pytest.fixture
def environment(made: Environment) -> Environment:
    made.pip("uninstall", "-y", "-q", "diffusers", "peft")
    for path in made.index.glob("*"):
        if path.name.startswith(("diffusers", "peft")):
            path.unlink()
    return made


@pytest.mark.slow
def test_only_what_is_missing_is_added(environment: Environment) -> None:
    wheel(environment.index, "diffusers", "0.31.0", DIFFUSERS, needs=("safetensors>=0.3",))
    wheel(environment.index, "diffusers", "0.99.0", DIFFUSERS, needs=("safetensors>=0.9",))
    wheel(environment.index, "peft", "0.13.2", PEFT, needs=("transformers",))
    before = environment.freeze()
    done = environment.start_webui()
    assert done.returncode == 0, done.stderr
    assert environment.freeze() - before == {"diffusers==0.31.0", "peft==0.13.2"}
    assert before <= environment.freeze()
    assert environment.banner() == ""
    again = environment.start_webui()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.slow
def test_no_network_is_a_banner_not_a_crash(environment: Environment) -> None:
    before = environment.freeze()
    done = environment.start_webui()
    assert done.returncode == 0
    assert environment.freeze() == before
    assert "no connection" in environment.banner()
    assert "pip install --no-deps diffusers==0.31.0 peft==0.13.2" in environment.banner()


@pytest.mark.slow
def test_an_environment_that_contradicts_itself_still_gets_them(environment: Environment) -> None:
    # peft's needs contradict what is installed, as torch 2.13 and A1111's setuptools do: pip's solver gives up.
    wheel(environment.index, "diffusers", "0.31.0", DIFFUSERS)
    wheel(environment.index, "peft", "0.13.2", PEFT, needs=("safetensors>=0.9",))
    wheel(environment.index, "importlib_metadata", "8.5.0", {"importlib_metadata.py": ""})
    wheel(environment.index, "zipp", "3.21.0", {"zipp.py": ""})
    before = environment.freeze()
    assert environment.start_webui().returncode == 0
    assert before <= environment.freeze()
    assert {"diffusers==0.31.0", "peft==0.13.2", "safetensors==0.4.2"} <= environment.freeze()
    assert environment.banner() == ""


@pytest.mark.slow
def test_what_pip_says_reaches_the_banner(environment: Environment) -> None:
    environment.index.joinpath("diffusers-0.31.0-py3-none-any.whl").write_bytes(b"no zip")
    wheel(environment.index, "peft", "0.13.2", PEFT)
    assert environment.start_webui().returncode == 0
    assert "diffusers" in environment.banner()
    assert "pip said: ERROR" in environment.banner()


@pytest.mark.parametrize(
    ("installed", "asked"),
    [
        ({"transformers": "4.30.2"}, ["diffusers==0.31.0", "peft==0.13.2"]),  # A1111
        ({"transformers": "4.46.1", "diffusers": "0.31.0", "peft": "0.13.2"}, []),  # Forge
        ({"transformers": "4.48.1", "diffusers": "0.32.2"}, ["peft==0.13.2"]),  # reForge
        ({"transformers": "4.57.6", "diffusers": "0.37.1"}, ["peft>=0.17"]),  # Forge Neo
    ],
)
def test_each_host_gets_what_fits(installed: dict[str, str], asked: list[str]) -> None:
    assert packages.wanted(installed) == asked


def test_reading_the_state_imports_nothing_heavy() -> None:
    code = (
        "import sys; from distill.hosts.packages import problem; problem(); print({'torch', 'peft'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "set()"
