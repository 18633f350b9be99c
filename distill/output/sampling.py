"""Our own small sampler on the borrowed models: prompt -> latents -> pictures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from distill.conditioning import CHUNK, for_vae, hidden_states, tokenize
from distill.errors import OptionError, OutputError
from distill.host import Models
from distill.options import SampleOptions
from distill.output.applying import applied
from distill.output.lora_file import Lora, read

MOST_TOKENS = 3 * CHUNK
TAG = re.compile(r"<lora:([^:<>]+)(?::([^<>]*))?>")


def generate(
    models: Models,
    prompt: str,
    options: SampleOptions,
    *,
    loras: Sequence[tuple[Lora, float]] = (),
    lora_dir: Path | None = None,
    clip_skip: int = 1,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Image.Image]:
    """`options.count` pictures on consecutive seeds; the same seed gives the same picture wherever it stands.

    `<lora:name:weight>` in the prompt is looked up in `lora_dir`. `on_step(done, total)` is called after each step.
    Warns when a prompt is longer than CLIP reads. Raises OutputError for a LoRA that is missing or does not fit.
    """
    prompt, named = parse_prompt(prompt)
    if named and lora_dir is None:
        raise OutputError(f"<lora:{named[0][0]}> can't be looked up here.", "Say where the LoRAs are.")
    loras = [*loras, *((read(find_lora(lora_dir or Path(), name)), weight) for name, weight in named)]
    seeds = range(options.sample_seed, options.sample_seed + options.count)
    total, pictures = options.count * options.sample_steps, []
    with torch.no_grad(), applied(models, loras) if loras else nullcontext():
        states = _states(models, prompt, options, clip_skip)
        for i, seed in enumerate(seeds):  # one by one: a batch's size would show in the last bits

            def report(done: int, before: int = i * options.sample_steps) -> None:
                if on_step:
                    on_step(before + done, total)

            pictures.append(_decode(models, _denoise(models, states, options, seed, report)))
    return pictures


@torch.no_grad()
def sampled_latents(
    models: Models, prompt: str, options: SampleOptions, *, clip_skip: int = 1, on_step: Callable[[int], None]
) -> torch.Tensor:
    """What `generate` makes its first picture from: latents (1, 4, h, w) as the UNet sees them."""
    return _denoise(models, _states(models, prompt, options, clip_skip), options, options.sample_seed, on_step)


@torch.no_grad()
def decode(models: Models, latents: torch.Tensor) -> Image.Image:
    """The picture of latents (1, 4, h, w)."""
    return _decode(models, latents.to(models.device))


def parse_prompt(text: str) -> tuple[str, list[tuple[str, float]]]:
    """The prompt without its `<lora:name:weight>` tags, and those; weight 1 where none is given. Raises OptionError."""
    loras = []
    for name, weight in TAG.findall(text):
        try:
            loras.append((name.strip(), float(weight or 1.0)))
        except ValueError:
            raise OptionError(
                f"<lora:{name}:{weight}> has no number as its weight.", "Write <lora:name:0.6>."
            ) from None
    bare = TAG.sub("", text)
    if "<lora:" in bare:
        raise OptionError("A <lora:...> tag in the prompt is not closed.", "Write <lora:name:0.6>.")
    return re.sub(r"\s*,(?:\s*,)+", ",", bare).strip(" ,\n\t"), loras


def find_lora(lora_dir: Path, name: str) -> Path:
    """The LoRA called `name` in `lora_dir` or a folder in it, as WebUIs look for it; raises OutputError."""
    found = sorted(path for path in lora_dir.rglob("*.safetensors") if path.stem == name)
    if not found:
        near = sorted(path.stem for path in lora_dir.rglob("*.safetensors") if path.stem.lower() == name.lower())
        hint = f"Did you mean {near[0]}?" if near else f"Put {name}.safetensors there or correct the name."
        raise OutputError(f"There is no LoRA {name} in {lora_dir}.", hint)
    return found[0]


def _states(models: Models, prompt: str, options: SampleOptions, clip_skip: int) -> torch.Tensor:
    prompts = [options.negative, prompt] if options.cfg_scale > 1 else [prompt]
    length = max(_length(models.tokenizer, text) for text in prompts)
    ids = tokenize(models.tokenizer, prompts, length).to(models.device)
    return hidden_states(models.text_encoder, ids, clip_skip)  # (1 or 2, 77, C), negative first


def _length(tokenizer: Any, text: str) -> int:
    """Tokens to read of a prompt, in whole chunks."""
    # Asked for more than the limit on purpose: the tokenizer itself warns about that, in words that mislead.
    count = len(tokenizer(text, truncation=True, max_length=10 * MOST_TOKENS).input_ids) - 2
    if count > MOST_TOKENS:
        warnings.warn(f"The prompt has {count} tokens; what comes after {MOST_TOKENS} is cut off.", stacklevel=4)
    return min(MOST_TOKENS, CHUNK * max(1, -(-count // CHUNK)))


def _denoise(
    models: Models, states: torch.Tensor, options: SampleOptions, seed: int, report: Callable[[int], None]
) -> torch.Tensor:
    scheduler = scheduler_of(models)
    scheduler.set_timesteps(options.sample_steps, device=models.device)
    width, height = options.width or models.native_px, options.height or models.native_px
    # Noise from the CPU: the same on every device.
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 4, height // 8, width // 8, generator=generator)
    latents: torch.Tensor = noise.to(models.device, models.dtype) * scheduler.init_noise_sigma  # (1, 4, h, w)
    for i, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        out = models.unet(scaled.expand(len(states), -1, -1, -1), timestep, states).sample
        if len(states) == 2:  # classifier-free guidance, Ho & Salimans 2022
            negative, positive = out.chunk(2)
            out = negative + options.cfg_scale * (positive - negative)
        latents = scheduler.step(out, timestep, latents).prev_sample
        report(i + 1)
    return latents


def scheduler_of(models: Models) -> Any:
    """DPM-Solver++(2M) on Karras' sigmas (Lu et al. 2022, Karras et al. 2022): deterministic and good in 25 steps."""
    from diffusers import DPMSolverMultistepScheduler

    betas = 1 - models.alphas_cumprod / torch.cat([torch.ones(1), models.alphas_cumprod[:-1]])
    make: Any = DPMSolverMultistepScheduler
    return make(
        trained_betas=betas.double().numpy(),
        num_train_timesteps=len(betas),
        prediction_type=models.prediction_type,
        algorithm_type="dpmsolver++",
        use_karras_sigmas=True,
    )


def _decode(models: Models, latents: torch.Tensor) -> Image.Image:
    picture = models.vae.decode(for_vae(models.vae, latents / models.latent_scale)).sample[0]  # (3, H, W) in [-1, 1]
    if not picture.isfinite().all():
        raise OutputError("The picture has numbers that are not finite.", "Use a VAE made for half precision.")
    array = (picture.float().clamp(-1, 1) * 127.5 + 127.5).round().byte()
    return Image.fromarray(array.permute(1, 2, 0).cpu().numpy(), "RGB")
