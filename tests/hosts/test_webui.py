"""What WebUIs do around the lending: loading late, other kinds of model, modes, the queue and the bar."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.errors import CheckpointError
from distill.hosts.detect import detect
from tests.fakewebui import FakeA1111, FakeForge, FakeReForge
from tests.hosts.compare import equal, from_file
from tests.models import tiny


class Failure(Exception):
    """What nobody expects."""


@pytest.mark.slow
def test_a_model_that_is_not_loaded_yet_is_loaded_once(webui: Any, folder: Path) -> None:
    host = detect()
    assert host.loaded().name == "first"
    assert not host.loaded().at_hand
    assert webui.loads == 0
    for _ in range(2):
        with host.turn("distill-1", ""), host.borrow() as models:
            assert models.name == "first"
    assert host.loaded().at_hand
    assert webui.loads == 1
    webui.add(folder / "other.safetensors")
    webui.choose(folder / "other.safetensors")
    assert (host.loaded().name, host.loaded().at_hand) == ("other", False)
    with host.turn("distill-1", ""), host.borrow() as models:
        assert models.name == "other"
        from_file(models, folder / "other.safetensors")


@pytest.mark.parametrize(("name", "kind"), [("xl", "an SDXL checkpoint"), ("inpainting", "an inpainting checkpoint")])
def test_other_kinds_are_refused_before_anything_is_loaded(webui: Any, folder: Path, name: str, kind: str) -> None:
    webui.add(folder / f"{name}.safetensors")
    webui.choose(folder / f"{name}.safetensors")
    host = detect()
    assert f"{name} is {kind}" in host.loaded().problem
    assert host.loaded().problem.endswith("Choose an SD1.5 checkpoint at the top left.")
    with host.turn("distill-1", ""), pytest.raises(CheckpointError, match=kind), host.borrow():
        pass
    assert webui.loads == 0
    assert not webui.queue_lock.locked()


def test_a_kind_that_only_shows_when_it_is_loaded(webui: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.hosts.webui.PICKLE_ENDINGS", (".safetensors",))  # as for a .ckpt
    webui.add(folder / "inpainting.safetensors")
    webui.choose(folder / "inpainting.safetensors")
    with detect().turn("distill-1", ""), pytest.raises(CheckpointError, match="inpainting"), detect().borrow():
        pass
    model = webui.models.model_data.sd_model
    model.is_sd1, model.is_sdxl = False, True
    assert "an SDXL checkpoint" in detect().loaded().problem


def test_no_checkpoint_at_all(webui: Any) -> None:
    webui.models.checkpoints_list.clear()
    webui.models.checkpoint_aliases.clear()
    assert "no checkpoint" in detect().loaded().problem
    del webui.models.checkpoints_list
    assert detect().loaded().problem  # a WebUI that has changed its names: no crash of the tab


@pytest.mark.parametrize(
    ("make", "how"), [(FakeA1111, {"fp8": True}), (FakeForge, {"storage": torch.float8_e4m3fn})], ids=["A1111", "Forge"]
)
def test_fp8_weights_are_taken_from_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path, make: Any, how: dict[str, Any]
) -> None:
    webui = make(monkeypatch, tmp_path, checkpoint, **how)
    before = webui.generate("a lora")
    host = detect()
    with host.turn("distill-1", ""), host.borrow() as models:
        from_file(models, checkpoint)
    assert equal(webui.generate("a lora"), before)
    monkeypatch.setattr("distill.hosts.ldm_view.open_header", _unreadable)
    with host.turn("distill-1", ""), pytest.raises(CheckpointError, match="fewer bits"), host.borrow():
        pass


def _unreadable(path: Path) -> None:
    raise CheckpointError("It is a pickle.")


def test_the_vae_is_the_one_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path, folder: Path
) -> None:
    FakeA1111(monkeypatch, tmp_path, checkpoint, vae=folder / "a.vae.safetensors")
    host = detect()
    latents = torch.ones(1, 4, 8, 8)
    with host.turn("distill-1", ""), host.borrow() as models, torch.no_grad():
        assert torch.equal(models.vae.decode(latents).sample, tiny.vae(seed=7).decode(latents).sample)


def test_the_backups_of_a_lora_do_not_stay_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
) -> None:
    webui = FakeA1111(monkeypatch, tmp_path, checkpoint)
    webui.generate("a lora")
    with detect().turn("distill-1", ""), detect().borrow():
        assert not any(getattr(m, "network_weights_backup", None) is not None for m in webui.modules())


def test_medvram_has_all_parts_in_the_cpus_memory_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
) -> None:
    webui = FakeA1111(monkeypatch, tmp_path, checkpoint, lowvram=True)
    with detect().turn("distill-1", ""), detect().borrow() as models:
        assert webui.sent_to_cpu == 1
        from_file(models, checkpoint)


def test_a_turn_waits_in_the_webuis_queue_and_shows_there(webui: Any) -> None:
    host, entered = detect(), threading.Event()
    release = threading.Event()

    def work() -> None:
        with host.turn("distill-1", "Distill") as turn:
            turn.report(3, 12, "step 3 of 12")
            entered.set()
            release.wait(5)

    with webui.queue_lock:
        worker = threading.Thread(target=work)
        worker.start()
        while "task(distill-1)" not in webui.progress.pending_tasks:
            pass
        assert not entered.wait(0.05)
    assert entered.wait(5)
    assert webui.queue_lock.locked()
    assert webui.progress.current_task == "task(distill-1)"
    assert not webui.progress.pending_tasks
    assert webui.state.job == "task(distill-1)"
    state = webui.state
    assert (state.job_count, state.job_no, state.sampling_step, state.sampling_steps) == (1, 0, 3, 12)
    assert state.textinfo == "step 3 of 12"
    release.set()
    worker.join(5)
    assert not webui.queue_lock.locked()
    assert webui.progress.finished_tasks == ["task(distill-1)"]
    assert (state.job, state.job_count, state.sampling_steps) == ("", 0, 0)


@pytest.mark.parametrize("flag", ["interrupted", "stopping_generation"])
def test_the_webuis_interrupt_is_seen_and_does_not_outlast_the_turn(webui: Any, flag: str) -> None:
    with detect().turn("distill-1", "") as turn:
        assert not turn.interrupted()
        setattr(webui.state, flag, True)
        assert turn.interrupted()
    assert not getattr(webui.state, flag)


def test_reload_ui_is_no_interrupt(webui: Any) -> None:
    state = webui.state
    pressed = state.request_restart  # bound when the page was built
    with detect().turn("distill-1", "test") as turn:
        pressed()
        assert state.server_command == "restart"
        assert not turn.interrupted()
        state.interrupt()
        assert turn.interrupted()
    assert "interrupt" not in vars(state)
    pressed()
    assert state.interrupted, "a picture is interrupted as ever"


def test_a_turn_that_fails_frees_the_queue(webui: Any) -> None:
    with pytest.raises(Failure), detect().turn("distill-1", ""):
        raise Failure
    assert not webui.queue_lock.locked()
    assert webui.progress.current_task is None
    assert webui.progress.finished_tasks == ["task(distill-1)"]


def test_the_list_of_loras_is_read_again_and_its_errors_stay_there(webui: Any) -> None:
    host = detect()
    host.loras_changed()
    assert webui.lists_read == 1
    del webui.networks.list_available_networks
    host.loras_changed()


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="No WebUI"):
        detect()
    FakeA1111(monkeypatch, tmp_path, checkpoint)
    assert detect().name == "A1111"
    webui = FakeForge(monkeypatch, tmp_path, checkpoint)
    assert detect().name == "Forge"
    webui.cmd_opts.lora_dirs = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert (detect().name, detect().lora_dir) == ("Forge Neo", tmp_path / "first")
    monkeypatch.undo()
    FakeReForge(monkeypatch, tmp_path, checkpoint)
    assert detect().name == "reForge"
