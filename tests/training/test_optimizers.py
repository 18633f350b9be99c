"""Every optimizer learns; their arguments are read, and what is not there is said."""

import importlib.util
import math
from dataclasses import replace

import pytest
import torch

from distill.errors import OptionError, TrainingError
from distill.options import NetworkOptions, Options, TrainOptions
from distill.training.adapter import attached
from distill.training.optimizers import Lion, make, read_arguments
from distill.training.state import Course
from tests.models import tiny


class Line:
    """An adapter of one weight, as far as an optimizer asks."""

    part = "unet"

    def __init__(self, *rates):
        self.weights = {rate: torch.nn.Parameter(torch.tensor([4.0])) for rate in rates or (1.0,)}

    def rates(self, up_ratio=1.0):
        return {rate: [weight] for rate, weight in self.weights.items()}


def learned(optimizer, steps=60, **options):
    line = Line()
    made = make([line], TrainOptions(optimizer=optimizer, unet_lr=0.05, weight_decay=0.0, **options))
    (weight,) = line.weights.values()
    for _ in range(steps):
        made.zero_grad()
        (weight**2).sum().backward()
        made.step()
    return float(weight)


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "adafactor"])
def test_it_goes_downhill(optimizer):
    assert abs(learned(optimizer)) < 2


def test_lion_is_the_papers():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    lion = Lion([{"params": [weight]}], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    mean, value = torch.zeros(2), weight.detach().clone()
    for gradient in (torch.tensor([3.0, -1.0]), torch.tensor([-30.0, -1.0])):
        weight.grad = gradient
        lion.step()
        update = (0.9 * mean + 0.1 * gradient).sign()
        value = value - 0.1 * (update + 0.5 * value)
        mean = 0.99 * mean + 0.01 * gradient
        torch.testing.assert_close(weight.detach(), value)


def test_blocks_have_their_own_rates():
    made = make([Line(1.0, 0.5)], TrainOptions(unet_lr=1e-3))
    assert [group["lr"] for group in made.param_groups] == [1e-3, 5e-4]


def test_arguments_are_the_optimizers_own():
    assert read_arguments("betas=(0.9,0.99) weight_decay=0.1 amsgrad=True") == {
        "betas": (0.9, 0.99),
        "weight_decay": 0.1,
        "amsgrad": True,
    }
    made = make([Line()], TrainOptions(optimizer_args="betas=(0.5,0.6)"))
    assert made.defaults["betas"] == (0.5, 0.6)
    with pytest.raises(OptionError, match="does not take 'speed=3'"):
        make([Line()], TrainOptions(optimizer_args="speed=3"))
    for wrong in ("betas", "betas=(0.9", "x=__import__('os')", "'"):
        with pytest.raises(OptionError, match="Optimizer arguments"):
            read_arguments(wrong)


def test_what_is_not_installed_is_said():
    if importlib.util.find_spec("prodigyopt") is None:
        with pytest.raises(TrainingError, match="prodigyopt"):
            make([Line()], TrainOptions(optimizer="prodigy"))
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="AdamW8bit"):
            make([Line()], TrainOptions(optimizer="adamw8bit"))


def test_prodigy_finds_one_rate_for_all():
    with pytest.raises(OptionError, match="one rate for all"):
        make([Line(1.0, 0.5)], TrainOptions(optimizer="prodigy"))


def test_prodigy_learns_where_it_is_installed():
    pytest.importorskip("prodigyopt", reason="prodigyopt is not installed")
    assert math.isfinite(learned("prodigy", steps=200))
    assert abs(learned("prodigy", steps=200)) < 3.9


@pytest.mark.parametrize(("form", "rates"), [("lora", [1e-3, 4e-3]), ("loha", [1e-3])])
def test_loraplus_gives_the_half_that_begins_at_zero_its_own_rate(form, rates):
    options = TrainOptions(unet_lr=1e-3, text_encoder_lr=1e-4, loraplus_lr_ratio=4.0)
    network = NetworkOptions(network_type=form, network_dim=4, conv_dim=0)
    models = tiny.small_models()
    with (
        attached(models.unet, "unet", network, torch.Generator()) as unet,
        attached(models.text_encoder, "text_encoder", network, torch.Generator()) as words,
    ):
        groups = make([unet, words], options).param_groups
        assert [group["lr"] for group in groups if group["part"] == "unet"] == rates
        if form == "lora":
            assert all(float(p.abs().max()) == 0 for p in groups[1]["params"])
            assert sum(len(group["params"]) for group in groups[:2]) == len(unet.parameters())
        course = Course(models, [unet, words], Options(train=replace(options, lr_warmup=0.0), network=network), 5, None)
        assert course.rates() == (1e-3, 1e-4, None)
