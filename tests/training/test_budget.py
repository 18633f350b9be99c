"""What a step takes is known before the first one, and where it would not fit it goes in another way from the start."""

from contextlib import nullcontext

import pytest
import torch
from PIL import Image

from distill.events import Noted
from distill.options import Options
from distill.pipeline import distill
from distill.training import budget
from distill.training.adapter import attached
from distill.training.encode import Source, encode
from distill.training.loop import Step
from tests.models import tiny
from tests.models.host import TinyHost
from tests.training.test_memory import QUICK, QUIET, TAGS, checkpoints, is_the_same


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


def kept(models, edge, *, checkpoints=False, rank=4):
    options = Options.from_flat({"network_dim": rank})
    source = Source(Image.linear_gradient("L").resize((64, 64)).convert("RGB"), ["fip zor woman"])
    data = encode(models, [source], options.caption, flip=False, train_text_encoder=False)
    with attached(models.unet, "unet", options.network, torch.Generator()) as adapter:
        return budget.kept_bytes(models, data, [adapter], options, checkpoints=checkpoints, edge=edge)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_corner_tells_of_the_whole(dtype):
    models = tiny.models(unet=tiny.outer_unet().to(dtype), dtype=dtype)
    assert kept(models, 16, rank=64) * 9 == pytest.approx(kept(models, 48, rank=64), rel=0.15)
    assert kept(models, 32, checkpoints=True) < 0.6 * kept(models, 32)


def test_the_lean_step_keeps_less(models, monkeypatch):
    lean = kept(models, 16)
    monkeypatch.setattr(budget, "lean", lambda *_: nullcontext())
    assert lean < 0.6 * kept(models, 16)


def run(tmp_path, monkeypatch, free, **changes):
    """(events, batches of the passes with gradients, whether they were checkpointed) with so many bytes free."""
    monkeypatch.setattr(budget, "free_bytes", lambda _: free)
    host, passes = TinyHost(tmp_path / "Lora"), []

    def note(unet, arguments):
        if torch.is_grad_enabled():
            passes.append((len(arguments[0]), checkpoints(unet)))

    handle = host.models.unet.register_forward_pre_hook(note)
    options = Options.from_flat({**QUICK, **QUIET, "batch_size": 2, **changes})
    try:
        events = list(distill(host, Image.radial_gradient("L").resize((64, 64)).convert("RGB"), TAGS, options))
    finally:
        handle.remove()
    return events, passes


def notes(events):
    return [event.note for event in events if isinstance(event, Noted) and "are free" in event.note]


def test_where_there_is_plenty_nothing_is_tried(tmp_path, monkeypatch):
    events, passes = run(tmp_path, monkeypatch, 1e12)
    assert not notes(events)
    assert len(passes) == sum(isinstance(event, Step) for event in events)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(events, batches of the passes) where nobody knows what is free."""
    with pytest.MonkeyPatch.context() as patch:
        return run(tmp_path_factory.mktemp("whole"), patch, None)


@pytest.fixture(scope="module")
def step_bytes(tmp_path_factory):
    """What a step needs, by its corner."""
    seen, measured = [], budget.kept_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "kept_bytes", lambda *a, **k: seen.append(measured(*a, **k)) or seen[-1])
        run(tmp_path_factory.mktemp("first"), patch, 1)
    return 2 * budget.PEAK * seen[0] * 8 * 8 / budget.CORNER**2


@pytest.mark.parametrize(
    ("share", "says", "way"),
    [(1.2, None, (2, False)), (0.6, "one at a time", (1, False)), (0.3, "checkpointing", (1, True))],
)
def test_it_goes_as_the_memory_allows(tmp_path, monkeypatch, whole, step_bytes, share, says, way):
    whole, tried = whole
    events, passes = run(tmp_path, monkeypatch, int(share * step_bytes))
    assert set(passes[1:]) == {way}  # the first is the one that was tried
    assert [says in note for note in notes(events)] == ([True] if says else [])
    assert len(tried) == len(passes[1:]) // (3 - way[0])
    assert is_the_same(events, whole)


def test_what_does_not_fit_in_any_way_says_so_and_goes(tmp_path, monkeypatch):
    events, passes = run(tmp_path, monkeypatch, 1, batch_size=1, gradient_checkpointing=True)
    (note,) = notes(events)
    assert "choose a smaller resolution" in note
    assert len(passes) > 1


def test_what_is_free_is_asked_of_the_machine():
    assert 1e8 < budget.free_bytes(torch.device("cpu")) < 1e14
    assert budget.free_bytes(torch.device("meta")) is None
