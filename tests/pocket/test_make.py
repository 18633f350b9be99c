"""Every training stage takes a step, saves its state, and goes on from it as if it had never stopped."""

import itertools
import random

import pytest
import torch

pytest.importorskip("diffusers")

from distill.pocket import world
from distill.pocket.make import judge_training, text, unet, vae
from distill.pocket.make.progress import Average, learning_rate_factor, load_state
from distill.pocket.make.sampling import draw


def test_learning_rate_rises_and_falls():
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_average_forgets_its_start():
    module = torch.nn.Linear(1, 1)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(5.0)
    for _ in range(60):
        average.update(module)
    assert average.weights["weight"].item() == pytest.approx(5.0, abs=0.05)


@pytest.mark.slow
def test_text_goes_on_where_it_stopped(tmp_path):
    at_once = list(text.train_text(tmp_path / "a.pt", text.TextOptions(steps=3, batch=4)))
    options = text.TextOptions(steps=3, batch=4)
    first = list(itertools.islice(text.train_text(tmp_path / "b.pt", options), 1))
    assert first[0] == at_once[0]
    assert load_state(tmp_path / "b.pt") is None  # stopped before its first save: it starts again
    list(text.train_text(tmp_path / "b.pt", text.TextOptions(steps=2, batch=4)))
    rest = list(text.train_text(tmp_path / "b.pt", options))
    assert [step for step, *_ in rest] == [2]


@pytest.mark.long
@pytest.mark.slow
def test_vae_and_judge_take_a_step(tmp_path):
    ((step, mse, _),) = vae.train_vae(tmp_path / "vae.pt", vae.VaeOptions(steps=1, batch=1))
    assert step == 0
    assert 0 < mse < 4
    trained = vae.load_averaged(tmp_path / "vae.pt")
    options = judge_training.JudgeOptions(steps=2, batch=8, renders=8, reconstructed=4)
    losses = [loss for _, loss in judge_training.train_judge(tmp_path / "judge.pt", trained, options)]
    assert len(losses) == 2
    judge_training.write_judge(tmp_path / "judge.pt", tmp_path / "judge.safetensors")
    assert (tmp_path / "judge.safetensors").stat().st_size < 2 * 2**20


@pytest.mark.long
@pytest.mark.slow
def test_unet_learns_from_cached_latents_and_draws(tmp_path):
    rng = random.Random(0)
    cached = {"latents": torch.randn(4, 4, 16, 16), "captions": [world.tags(world.sample(rng)) for _ in range(4)]}
    encoder = text.build_text_encoder()
    options = unet.UnetOptions(steps=2, batch=2, warmup=1)
    assert [step for step, _ in unet.train_unet(tmp_path / "unet.pt", cached, encoder, options)] == [0, 1]
    networks = unet.load_averaged(tmp_path / "unet.pt"), encoder, vae.build_vae().eval()
    (image,) = draw(networks, ["woman"], 0, steps=2)
    assert image.size == (128, 128)
    assert image.tobytes() == draw(networks, ["woman"], 0, steps=2)[0].tobytes()
