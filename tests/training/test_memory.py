"""A step for which the memory is too small is made again in a way that needs less; the LoRA is the same."""

from functools import cache

import pytest
import torch
from PIL import Image

from distill.errors import TrainingError
from distill.events import Done, Noted, Saved
from distill.options import Options
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.training.loop import Step
from tests.models.host import TinyHost

TAGS = ["woman", "red hair", "green eyes"]
QUICK = {"repeats": 4, "epochs": 2, "network_dim": 4, "network_alpha": 4.0, "trigger": "fip zor", "unet_lr": 1e-3}
QUICK |= {"loraplus_lr_ratio": 1.0}
QUIET = {"preview": False, "sample_every": 0, "meters": False, "keep_state": False, "save_precision": "fp32"}
ONE_BY_ONE = {"batch_size": 1, "views": "upper body", "view_min_px": 64}


def trained(tmp_path, too_much, **changes):
    """The events of a training whose UNet has too little memory whenever `too_much(unet, batch, pass)` says so."""
    host, passes = TinyHost(tmp_path / "Lora"), []

    def refuse(unet, arguments):
        if torch.is_grad_enabled():
            passes.append(len(arguments[0]))
            if too_much(unet, len(arguments[0]), len(passes)):
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    handle = host.models.unet.register_forward_pre_hook(refuse)
    picture = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    try:
        return list(distill(host, picture, TAGS, Options.from_flat({**QUICK, **QUIET, **changes})))
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The events of trainings that have all that they want, one of a kind."""

    @cache
    def made(**changes):
        return trained(tmp_path_factory.mktemp("whole"), lambda *_: False, **changes)

    return made


def weights(events):
    layers = read(events[-1].path).layers
    return torch.cat([t.flatten() for name in sorted(layers) for t in layers[name].tensors().values()])


def is_the_same(events, others):
    """To rounding, which Adam makes larger where a gradient is next to nothing."""
    a, b = weights(events), weights(others)
    return float((a - b).norm() / b.norm()) < 1e-3


def steps(events):
    return [event.index for event in events if isinstance(event, Step)]


def notes(events):
    return [event.note for event in events if isinstance(event, Noted) and "Out of memory" in event.note]


def checkpoints(unet):
    return any(getattr(module, "gradient_checkpointing", False) for module in unet.modules())


VIEWS = {"flip": True, "views": "upper body", "view_min_px": 64}


@pytest.mark.parametrize("pictures", [{}, pytest.param(VIEWS, marks=pytest.mark.slow)])
def test_a_batch_that_is_too_large_goes_on_picture_by_picture(tmp_path, whole, pictures):
    options = {"batch_size": 2, **pictures}
    whole = whole(**options)
    events = trained(tmp_path, lambda unet, batch, n: batch > 1 and n > 2, **options)
    (note,) = notes(events)
    assert "step 3" in note
    assert "one picture of the batch at a time" in note
    assert steps(events) == steps(whole)
    assert len(steps(whole)) > 3
    assert is_the_same(events, whole)
    assert not notes(whole)


def test_one_picture_that_is_too_large_goes_on_with_checkpointing(tmp_path, whole):
    whole = whole(**ONE_BY_ONE)
    events = trained(tmp_path, lambda unet, batch, n: n > 3 and not checkpoints(unet), **ONE_BY_ONE)
    (note,) = notes(events)
    assert "step 4" in note
    assert "gradient checkpointing" in note
    assert is_the_same(events, whole)


def test_where_nothing_helps_the_epochs_are_kept(tmp_path):
    events = trained(tmp_path, lambda unet, batch, n: n > 5, batch_size=1)
    assert len(notes(events)) == 1
    assert isinstance(events[-1], Done)
    assert "Out of memory" in events[-1].stopped
    assert [event.step for event in events if isinstance(event, Saved)][-1] == 4


def test_where_nothing_fits_at_all_it_says_so(tmp_path):
    with pytest.raises(TrainingError, match="Out of memory"):
        trained(tmp_path, lambda *_: True, batch_size=2)


def test_a_step_is_taken_back_to_the_bit(tmp_path, whole):
    """The draws of the failed step come again: without them the trainings would part."""
    whole = whole(**ONE_BY_ONE)
    failed = []

    def once(unet, batch, n):
        return n == 3 and not failed.append(n)

    events = trained(tmp_path, once, **ONE_BY_ONE)
    assert failed == [3]
    assert float((weights(events) - weights(whole)).abs().max()) < 1e-4
