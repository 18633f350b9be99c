"""The meters say what the LoRA that is on has learned, and nothing without one."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from distill.options import Options
from distill.training.adapter import attached, switched_off
from distill.training.encode import Source, encode
from distill.training.loop import train
from distill.training.meters import Meters
from tests.models import tiny
from tests.training.test_loop import picture

CAPTION = "fip zor woman, red hair, green eyes, smile"


@pytest.fixture(scope="module")
def models():
    return tiny.models()


def meters(models, data, **changes):
    return Meters(models, data.items[0].mean[:1], CAPTION, "fip zor", "woman", **changes)


def learned(models, stack, **changes):
    """(data, adapters) of a LoRA that was trained and is still on."""
    options = Options.from_flat(
        {"repeats": 40, "epochs": 1, "batch_size": 2, "unet_lr": 1e-2, "loraplus_lr_ratio": 1.0, **changes}
    )
    data = encode(models, [Source(picture(), [CAPTION])], options.caption, flip=False, train_text_encoder=False)
    generator = torch.Generator().manual_seed(0)
    adapters = [stack.enter_context(attached(models.unet, "unet", options.network, generator))]
    for _ in train(models, data, adapters, options, generator=generator):
        pass
    return data, adapters


def test_a_lora_that_does_nothing(models):
    options = Options()
    data = encode(models, [Source(picture(), [CAPTION])], options.caption, flip=False, train_text_encoder=False)
    made = meters(models, data)
    with attached(models.unet, "unet", options.network, torch.Generator().manual_seed(0)):
        read = made.read()
    assert (read.fit, read.bleed) == pytest.approx((0, 0), abs=1e-5)
    # The tiny models know no class, so a trigger before it is a change of its own.
    assert abs(read.leak) < 0.05
    assert read.edit > 0.5


@pytest.mark.slow
def test_learning_raises_fit_and_bleed(models):
    with ExitStack() as stack:
        data, adapters = learned(models, stack)
        with switched_off(adapters):
            made = meters(models, data)
            off = made.read()
        on = made.read()
        again = made.read()
    assert on.fit > off.fit + 0.05
    assert on.bleed > off.bleed + 0.01
    assert on.leak > off.leak
    assert on == again


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_leak_is_1_when_pure_noise_gives_the_picture(models, prediction):
    changed = replace(models, prediction_type=prediction)
    options = Options()
    data = encode(changed, [Source(picture(), [CAPTION])], options.caption, flip=False, train_text_encoder=False)
    made = meters(changed, data)
    z, noise, a = made._latents[0], made._noises[-1], changed.alphas_cumprod[980]
    answer = (noise - a.sqrt() * z) / (1 - a).sqrt()
    if prediction == "v_prediction":
        answer = (a.sqrt() * noise - z) / (1 - a).sqrt()
    assert made._leak(answer, torch.zeros_like(answer)) == pytest.approx(1, abs=1e-3)
    assert made._leak(torch.zeros_like(answer), torch.zeros_like(answer)) == 0
