"""What A1111 and Forge share: options, flags, state, queue, progress, the list of checkpoints."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.fakewebui import describers, upscalers


class State:
    """`shared.state`."""

    def __init__(self) -> None:
        self.job, self.textinfo, self.time_start = "", None, None
        self.skipped = self.interrupted = self.stopping_generation = False
        self.job_no = self.job_count = self.sampling_step = self.sampling_steps = 0
        self.begun: list[str] = []

    def begin(self, job: str = "(unknown)") -> None:
        self.job, self.job_count, self.job_no, self.sampling_step = job, -1, 0, 0
        self.skipped = self.interrupted = self.stopping_generation = False
        self.textinfo, self.time_start = None, time.time()
        self.begun.append(job)

    def interrupt(self) -> None:
        self.interrupted = True

    def request_restart(self) -> None:
        """What "Reload UI" is bound to."""
        self.interrupt()
        self.server_command = "restart"

    def end(self) -> None:
        assert time.time() >= self.time_start
        self.job, self.job_count = "", 0


class QueueLock:
    """`call_queue.queue_lock`: first come, first served, not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> bool:
        assert self._lock.acquire(timeout=10), "deadlock: the queue's lock is not re-entrant"
        return True

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()


class Progress(ModuleType):
    """`modules.progress`."""

    def __init__(self) -> None:
        super().__init__("modules.progress")
        self.current_task: str | None = None
        self.pending_tasks: OrderedDict[str, float] = OrderedDict()
        self.finished_tasks: list[str] = []

    def add_task_to_queue(self, task: str) -> None:
        self.pending_tasks[task] = time.time()

    def start_task(self, task: str) -> None:
        self.current_task = task
        self.pending_tasks.pop(task, None)

    def finish_task(self, task: str) -> None:
        self.current_task = None if self.current_task == task else self.current_task
        self.finished_tasks.append(task)


class CheckpointInfo:
    """An entry of `sd_models.checkpoints_list`."""

    def __init__(self, path: Path) -> None:
        self.filename = str(path)
        self.name = path.name
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.title = f"{path.name} [{self.sha256[:10]}]"


class FakeWebUI:
    """A running WebUI: its modules are in `sys.modules` until monkeypatch takes them out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data_path: Path, checkpoint: Path) -> None:
        self.folder, self.models_path = checkpoint.parent, data_path / "models"
        self.state, self.queue_lock, self.progress = State(), QueueLock(), Progress()
        self.opts = SimpleNamespace(sd_model_checkpoint="", sd_noise_schedule="Default", data={})
        self.cmd_opts = SimpleNamespace(lora_dir=str(data_path / "models" / "Lora"))
        self.models = self._sd_models()
        self.networks = ModuleType("networks")
        self.lists_read = 0
        self.networks.list_available_networks = self._list_networks
        self._install(
            monkeypatch,
            {
                "modules.shared": self._shared(),
                "modules.sd_models": self.models,
                "modules.call_queue": _module("call_queue", queue_lock=self.queue_lock),
                "modules.progress": self.progress,
                "modules.paths": _module("paths", data_path=str(data_path), models_path=str(self.models_path)),
                "networks": self.networks,
                **self._more_modules(),
                **describers.install(self, *self._manager()),
            },
        )
        sys.modules["modules.shared"].interrogator = self.interrogator
        sys.modules["modules.shared"].sd_upscalers = upscalers.listed(self)
        self.add(checkpoint)
        self.choose(checkpoint)

    def add(self, path: Path) -> None:
        info = CheckpointInfo(path)
        self.models.checkpoints_list[info.title] = info
        for alias in (info.title, info.name, path.stem):
            self.models.checkpoint_aliases[alias] = info

    def choose(self, path: Path) -> None:
        self.opts.sd_model_checkpoint = path.name

    @property
    def chosen(self) -> CheckpointInfo:
        return self.models.checkpoint_aliases[self.opts.sd_model_checkpoint]

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The chosen file's tensors, and the parameters in the .yaml beside it."""
        path = Path(self.chosen.filename)
        params = yaml.safe_load(path.with_suffix(".yaml").read_text())["model"]["params"]
        # Copies, as `load_state_dict` makes them; under inference mode these are inference tensors.
        return {name: tensor.clone() for name, tensor in load_file(str(path)).items()}, params

    def _list_networks(self) -> None:
        self.lists_read += 1

    def _sd_models(self) -> ModuleType:
        return _module("sd_models", checkpoints_list={}, checkpoint_aliases={}, model_data=None)

    def _shared(self) -> ModuleType:
        return _module("shared", opts=self.opts, cmd_opts=self.cmd_opts, state=self.state)

    def _more_modules(self) -> dict[str, ModuleType]:
        return {}

    def _manager(self) -> tuple[Any, Any]:
        """Who moves models between devices, and what it wants them wrapped in; none in A1111."""
        return None, None

    def _install(self, monkeypatch: pytest.MonkeyPatch, made: dict[str, ModuleType]) -> None:
        for name, module in made.items():
            monkeypatch.setitem(sys.modules, name, module)


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    return module
