"""The sampler: same seed, same picture; prompts with LoRAs in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops

from distill.errors import OptionError, OutputError
from distill.host import Models
from distill.options import SampleOptions
from distill.output.lora_file import save
from distill.output.sampling import find_lora, generate, parse_prompt
from tests.models.adapters import random_lora

QUICK = SampleOptions(sample_steps=3, cfg_scale=4.0)


def same(a: Image.Image, b: Image.Image) -> bool:
    return ImageChops.difference(a, b).getbbox() is None


def test_same_seed_same_picture_wherever_it_stands(models: Models) -> None:
    first = generate(models, "a cat", replace(QUICK, count=2, sample_seed=8))
    second = generate(models, "a cat", replace(QUICK, count=1, sample_seed=9))
    assert same(first[1], second[0])
    assert not same(first[0], first[1])
    assert first[0].size == (64, 64)


def test_every_setting_counts(models: Models) -> None:
    plain = generate(models, "a cat", QUICK)[0]
    assert not same(plain, generate(models, "a dog", QUICK)[0])
    assert not same(plain, generate(models, "a cat", replace(QUICK, negative="dog"))[0])
    assert not same(plain, generate(models, "a cat", replace(QUICK, cfg_scale=1.0))[0])
    assert not same(plain, generate(models, "a cat", QUICK, clip_skip=2)[0])
    assert not same(plain, generate(replace(models, prediction_type="v_prediction"), "a cat", QUICK)[0])
    assert generate(models, "a cat", replace(QUICK, width=48, height=80))[0].size == (48, 80)


def test_steps_are_reported(models: Models) -> None:
    steps: list[tuple[int, int]] = []
    generate(models, "a cat", replace(QUICK, count=2), on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(n, 6) for n in range(1, 7)]


def test_lora_in_the_prompt_or_given(models: Models, tmp_path: Path) -> None:
    lora = random_lora(models)
    (tmp_path / "sub").mkdir()
    save(lora, tmp_path / "sub" / "fip.safetensors")
    plain = generate(models, "a cat", QUICK)[0]
    named = generate(models, "a cat, <lora:fip:0.6>", QUICK, lora_dir=tmp_path)[0]
    given = generate(models, "a cat", QUICK, loras=[(lora, 0.6)])[0]
    assert not same(plain, named)
    assert same(named, given)
    assert same(plain, generate(models, "a cat", QUICK)[0])


def test_the_sampler_solves_what_it_should(models: Models) -> None:
    """Latents that a perfect predictor knows: both ways of predicting lead to exactly them."""
    goal = torch.linspace(-1, 1, 4 * 8 * 8).reshape(1, 4, 8, 8)

    class Perfect:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __call__(self, x: torch.Tensor, timestep: torch.Tensor, _: torch.Tensor) -> object:
            alpha = models.alphas_cumprod[int(timestep)]
            noise = (x - alpha.sqrt() * goal) / (1 - alpha).sqrt()
            v = alpha.sqrt() * noise - (1 - alpha).sqrt() * goal
            return type("Out", (), {"sample": noise if self.kind == "epsilon" else v})

    from distill.output import sampling

    states = torch.zeros(1, 77, 64)
    for kind in ("epsilon", "v_prediction"):
        perfect = replace(models, unet=Perfect(kind), prediction_type=kind)
        latents = sampling._denoise(perfect, states, replace(QUICK, sample_steps=15), 1, lambda _: None)
        torch.testing.assert_close(latents, goal, atol=0.05, rtol=0)


def test_a_prompt_that_is_too_long_warns(models: Models) -> None:
    with pytest.warns(UserWarning, match="231 tokens; what comes after 225 is cut off"):
        generate(models, " ".join(["cat"] * 231), replace(QUICK, sample_steps=1))


@pytest.mark.parametrize(
    ("text", "prompt", "loras"),
    [
        ("a cat", "a cat", []),
        ("a cat, <lora:fip zor:0.6>", "a cat", [("fip zor", 0.6)]),
        ("<lora:a>, cat, <lora:b-2:-1>, hat", "cat, hat", [("a", 1.0), ("b-2", -1.0)]),
        ("cat <lora:a:.5> hat", "cat  hat", [("a", 0.5)]),
    ],
)
def test_parse_prompt(text: str, prompt: str, loras: list[tuple[str, float]]) -> None:
    assert parse_prompt(text) == (prompt, loras)


@pytest.mark.parametrize("text", ["<lora:a:high>", "<lora:a:0.6", "cat <lora:>"])
def test_tags_that_are_wrong(text: str) -> None:
    with pytest.raises(OptionError):
        parse_prompt(text)


def test_a_lora_that_is_missing(models: Models, tmp_path: Path) -> None:
    (tmp_path / "Fip.safetensors").touch()
    with pytest.raises(OutputError, match="Did you mean Fip"):
        find_lora(tmp_path, "fip")
    with pytest.raises(OutputError, match="There is no LoRA zor"):
        generate(models, "<lora:zor:1>", QUICK, lora_dir=tmp_path)
    with pytest.raises(OutputError, match="looked up"):
        generate(models, "<lora:zor:1>", QUICK)
