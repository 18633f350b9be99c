"""What every host promises: pristine weights in the host's own memory, given back bit for bit on every way out."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import TrainingError
from distill.events import Saved
from distill.hosts.detect import detect
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.pipeline import distill
from distill.training.loop import Step
from tests.hosts.compare import equal, from_file
from tests.models import tiny

PICTURE = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
TAGS = ["woman", "red hair"]
OPTIONS = {
    "repeats": 2,
    "epochs": 1,
    "batch_size": 1,
    "network_dim": 4,
    "trigger": "fip zor",
    "preview": False,
    "sample_every": 0,
}


def events(host: Any, **changes: Any) -> Any:
    return distill(host, PICTURE, TAGS, Options.from_flat({**OPTIONS, **changes}))


def lora(host: Any, **changes: Any) -> dict[str, torch.Tensor]:
    path = [e for e in events(host, **changes) if isinstance(e, Saved)][-1].path
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def traces(webui: Any) -> list[Any]:
    """Everything about the host's modules that borrowing might leave changed, and where its weights lie."""
    return [
        (
            m.training,
            sorted(vars(m)),
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks),
            [(name, id(p), p.requires_grad, p.grad, p.data_ptr()) for name, p in m._parameters.items()],
            list(m._modules),
        )
        for m in webui.modules()
    ]


def test_the_view_is_the_file_in_the_hosts_memory(webui: Any, checkpoint: Path) -> None:
    host = detect()
    with host.turn("distill-1", "test"), host.borrow() as models:
        from_file(models, checkpoint)
        own = {p.data_ptr() for m in webui.modules() for p in m._parameters.values() if p is not None}
        seen = [p for m in (models.unet, models.vae, models.text_encoder) for p in m.parameters()]
        assert all(p.data_ptr() in own for p in seen)
        assert not any(p.requires_grad or p.is_inference() for p in seen)
        assert (models.name, models.native_px, models.latent_scale) == ("first", 64, 0.2)
        assert models.sha256 == webui.chosen.sha256
        assert (models.prediction_type, models.dtype) == ("epsilon", torch.float32)
        torch.testing.assert_close(models.alphas_cumprod, tiny.alphas_cumprod(), rtol=1e-5, atol=0)
    assert host.lora_dir == Path(webui.cmd_opts.lora_dir)
    assert host.work_dir.parent.name == "cache"


@pytest.mark.slow
def test_it_computes_what_the_models_compute_that_the_file_was_made_from(webui: Any, folder: Path) -> None:
    webui.add(folder / "other.safetensors")
    webui.choose(folder / "other.safetensors")
    inputs = torch.ones(1, 4, 8, 8), torch.tensor([500]), torch.ones(1, 77, tiny.WIDTH)
    ids = torch.arange(77)[None]
    host = detect()
    with host.turn("distill-1", ""), host.borrow() as models, torch.no_grad():
        assert models.prediction_type == "v_prediction"
        noise = models.unet(*inputs).sample
        torch.testing.assert_close(noise, tiny.outer_unet(seed=10, attention_head_dim=4)(*inputs).sample)
        assert (noise - tiny.outer_unet(seed=10)(*inputs).sample).abs().max() > 1e-3  # what SD1.5's 8 heads would give
        text = tiny.text_encoder(num_attention_heads=2)
        torch.testing.assert_close(models.text_encoder(ids).last_hidden_state, text(ids).last_hidden_state)


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The LoRA that the file gives without a WebUI around it."""
    host = Standalone(folder / "first.safetensors", lora_dir=tmp_path_factory.mktemp("alone"), device="cpu")
    return lora(host, train_text_encoder=True)


def test_the_lora_is_the_one_that_the_file_alone_gives(webui: Any, alone: dict[str, torch.Tensor]) -> None:
    webui.generate("a lora", "another")  # whatever was merged before
    host = detect()
    with host.turn("distill-1", ""):
        got = lora(host, train_text_encoder=True)
    if host.name == "reForge":
        # It knows its schedule as sigmas, which rounds its last bits; Adam divides small gradients by themselves, so
        # some weights of about 0.1 go another way for a step of 1e-3.
        torch.testing.assert_close(got, alone, atol=2e-3, rtol=1e-3)
    else:
        assert equal(got, alone)


class Failure(Exception):
    """What nobody expects."""


def end(run: Any, host: Any) -> None:
    assert [type(e).__name__ for e in run][-1] == "Done"


def discard(run: Any, host: Any) -> None:
    next(e for e in run if isinstance(e, Step))
    run.close()


def fail(run: Any, host: Any) -> None:
    next(e for e in run if isinstance(e, Step))
    with pytest.raises(Failure):
        run.throw(Failure())


def run_out_of_memory(run: Any, host: Any) -> None:
    next(e for e in run if isinstance(e, Step))
    with pytest.raises(TrainingError, match="Out of memory"):
        run.throw(MemoryError())


@pytest.mark.parametrize(
    "leave", [fail, *(pytest.param(how, marks=pytest.mark.slow) for how in (end, discard, run_out_of_memory))]
)
def test_given_back_on_every_way_out(webui: Any, leave: Any) -> None:
    pristine = webui.generate()
    host = detect()
    with host.turn("distill-0", ""), host.borrow():
        pass
    before = traces(webui)
    with host.turn("distill-1", ""):
        leave(events(host, train_text_encoder=True), host)
    assert traces(webui) == before
    assert equal(webui.weights(), pristine)
    assert not webui.queue_lock.locked()


@pytest.mark.slow
def test_after_it_the_next_picture_has_the_loras_of_its_prompt(webui: Any) -> None:
    pristine, with_lora = webui.generate(), webui.generate("a lora")
    assert not equal(with_lora, pristine)
    host = detect()
    for _ in range(2):
        with host.turn("distill-1", ""), host.borrow():
            assert equal(webui.weights(), pristine)
        assert equal(webui.generate("a lora"), with_lora)  # the same prompt as before
        with host.turn("distill-2", ""), host.borrow():
            pass
        assert equal(webui.generate(), pristine)  # a prompt without one
        webui.generate("a lora")


def test_nothing_keeps_the_view_alive(webui: Any) -> None:
    host = detect()
    with host.turn("distill-1", ""), host.borrow() as models:
        views = [weakref.ref(m) for m in (models.unet, models.vae, models.text_encoder)]
        kept = models.unet
    assert all(p.is_meta for p in kept.parameters())  # who keeps it, keeps no memory of the host's
    del models, kept
    gc.collect()
    assert [view() for view in views] == [None, None, None]


def test_weights_that_were_written_to_are_read_again(webui: Any, checkpoint: Path) -> None:
    host = detect()
    with host.turn("distill-1", ""), host.borrow() as models:
        models.unet.conv_in.weight.data[0, 0, 0, 0] += 1e-3
    with host.turn("distill-1", ""), host.borrow() as models:
        from_file(models, checkpoint)
