"""What all WebUIs have in common as hosts: the checkpoint that is chosen, their queue and bar, their folders.

Their modules are looked up in `sys.modules`, where the running WebUI has them; nothing is put on the path.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CheckpointError
from distill.host import Describer, Loaded, Models, Turn, Upscaler
from distill.hosts.kinds import kind_of
from distill.hosts.ldm_view import Parts, lent, refusal
from distill.hosts.schedule import facts_from_yaml
from distill.hosts.tensor_file import PICKLE_ENDINGS, open_header

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FLAGS = (("is_sdxl", "an SDXL checkpoint"), ("is_sd2", "an SD2 checkpoint"), ("is_sd3", "an SD3 checkpoint"))


def module(name: str) -> Any:
    """A module of the running WebUI; None where it has none of that name."""
    return sys.modules.get(name)


@dataclass(frozen=True)
class Chosen:
    """The checkpoint that the WebUI would generate with now."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass
class WebUIHost:
    """Host's methods for any WebUI; the families say how a model is loaded and cleaned of LoRAs."""

    name: str = "WebUI"
    lora_dir: Path = field(default_factory=lambda: _lora_dir())
    work_dir: Path = field(default_factory=lambda: _data_dir() / "cache" / "distill")

    def loaded(self) -> Loaded:
        """What `borrow` would lend; reads a file's header at most, never loads a model, never raises."""
        chosen = None
        try:
            chosen = self._chosen()
            model = self._model_in_memory()
            self._refuse(chosen, model)
            at_hand = _is_of(model, chosen)
            return Loaded(name=chosen.name, native_px=self._native_px(model, chosen.path), at_hand=at_hand)
        except CheckpointError as error:
            return Loaded(name=chosen.name if chosen else "", problem=str(error))
        except Exception as error:  # another's code, which may be patched by any extension
            log.warning("The WebUI's checkpoint could not be looked at.", exc_info=True)
            return Loaded(name="", problem=f"The WebUI could not say which checkpoint is chosen ({error}).")

    def turn(self, job_id: str, label: str) -> AbstractContextManager[Turn]:
        """Our place in the WebUI's own queue, with its own progress bar; shows as queued while waiting."""
        return _turn(job_id, label)

    @contextmanager
    def borrow(self) -> Iterator[Models]:
        """The chosen checkpoint, loaded by the WebUI if need be, with LoRAs taken out of the weights.

        Raises CheckpointError when there is none, it can't be loaded or it is of another kind.
        """
        self._refuse(self._chosen(), self._model_in_memory())
        with self._parts() as parts, lent(parts, self._reload) as models:
            yield models

    def loras_changed(self) -> None:
        """Let the WebUI's Lora extension read its folder again; never raises."""
        networks = module("networks")
        try:
            if networks is not None:
                networks.list_available_networks()
        except Exception:  # another's code; the files are there whatever becomes of its list
            log.warning("The WebUI's list of LoRAs could not be refreshed.", exc_info=True)

    def describers(self) -> tuple[Describer, ...]:
        """The WebUI's own BLIP and DeepBooru; nothing is loaded by asking, never raises."""
        from distill.hosts.describers import describers

        return describers()

    def upscalers(self) -> tuple[Upscaler, ...]:
        """Those of the WebUI's "Extras"; nothing is loaded by asking, never raises."""
        from distill.hosts.upscalers import upscalers

        return upscalers()

    def _model_in_memory(self) -> Any:
        """The model as it is, without loading one: `shared.sd_model` would."""
        model = module("modules.sd_models").model_data.sd_model
        return model if hasattr(model, "sd_checkpoint_info") else None

    def _parts(self) -> AbstractContextManager[Parts]:
        """Load the chosen checkpoint and restore its weights; on leaving, the WebUI's own state is back."""
        raise NotImplementedError

    def _reload(self) -> None:
        """Make the WebUI read the checkpoint from its file again."""
        raise NotImplementedError

    def _chosen(self) -> Chosen:
        """As the WebUI's own `select_checkpoint`, which would print; raises CheckpointError when there is none."""
        models = module("modules.sd_models")
        info = models.checkpoint_aliases.get(module("modules.shared").opts.sd_model_checkpoint)
        info = info or next(iter(models.checkpoints_list.values()), None)
        if info is None:
            raise CheckpointError(
                "The WebUI has no checkpoint.", "Put an SD1.5 checkpoint into models/Stable-diffusion and choose it."
            )
        return Chosen(Path(info.filename), info.sha256 or "")

    def _refuse(self, chosen: Chosen, model: Any) -> None:
        """Raises CheckpointError when the checkpoint is known to be none that Distill trains."""
        if _is_of(model, chosen):
            for flag, kind in FLAGS:
                if getattr(model, flag, False):
                    raise refusal(chosen.name, kind)
        if chosen.path.suffix.lower() in PICKLE_ENDINGS:
            return  # what a .ckpt is shows when the WebUI has loaded it
        stat = chosen.path.stat() if chosen.path.is_file() else None
        kind = _kind_of(chosen.path, (stat.st_mtime_ns, stat.st_size) if stat else None)
        if kind:
            raise refusal(chosen.name, kind)

    def _native_px(self, model: Any, path: Path) -> int:
        """The edge that the checkpoint was trained at, from its .yaml; 512 without one."""
        return facts_from_yaml(path.with_suffix(".yaml")).native_px

    def _schedule(self, alphas_cumprod: torch.Tensor) -> torch.Tensor:
        """The checkpoint's noise schedule, as the person's settings say it was trained with."""
        if getattr(module("modules.shared").opts, "sd_noise_schedule", "") != "Zero Terminal SNR":
            return alphas_cumprod
        rescaled: torch.Tensor = module("modules.sd_models").rescale_zero_terminal_snr_abar(alphas_cumprod.clone())
        return rescaled


def _is_of(model: Any, chosen: Chosen) -> bool:
    return model is not None and Path(model.sd_checkpoint_info.filename) == chosen.path


@lru_cache(maxsize=8)
def _kind_of(path: Path, version: tuple[int, int] | None) -> str:
    return kind_of(open_header(path))


class _Turn:
    def __init__(self, state: Any) -> None:
        self._state = state

    def report(self, step: int, total: int, text: str) -> None:
        """Into the WebUI's bar and /sdapi/v1/progress, which divide by the number of jobs."""
        state = self._state
        state.job_count, state.job_no = 1, 0
        state.sampling_steps, state.sampling_step = total, step
        state.textinfo = text

    def interrupted(self) -> bool:
        """Whether Interrupt was pressed, or "stop after this picture"."""
        return bool(self._state.interrupted or getattr(self._state, "stopping_generation", False))


@contextmanager
def _turn(job_id: str, label: str) -> Iterator[Turn]:
    state, progress = module("modules.shared").state, module("modules.progress")
    task = f"task({job_id})"
    progress.add_task_to_queue(task)
    try:
        with module("modules.call_queue").queue_lock:
            state.begin(job=task)
            progress.start_task(task)
            turn = _Turn(state)
            turn.report(0, 1, label)
            try:
                with _through_reload(state):
                    yield turn
            finally:
                progress.finish_task(task)
                state.end()
                # As the WebUI does after its own tasks: an Interrupt of ours must not stop the next one.
                state.skipped = state.interrupted = state.stopping_generation = False
                state.sampling_step, state.sampling_steps, state.textinfo = 0, 0, None
    finally:
        progress.pending_tasks.pop(task, None)  # still there only if the lock was never got


@contextmanager
def _through_reload(state: Any) -> Iterator[None]:
    """ "Reload UI" builds the pages anew and interrupts whatever runs; a training goes on through it."""
    interrupt = state.interrupt

    def heard() -> None:
        if sys._getframe(1).f_code.co_name != "request_restart":
            interrupt()

    state.interrupt = heard
    try:
        yield
    finally:
        del state.interrupt  # the class's own again


def _lora_dir() -> Path:
    flags = module("modules.shared").cmd_opts
    several = getattr(flags, "lora_dirs", None)  # Forge Neo
    return Path(several[0] if several else flags.lora_dir)


def _data_dir() -> Path:
    return Path(module("modules.paths").data_path)
