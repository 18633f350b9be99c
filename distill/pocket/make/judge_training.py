"""Trains the judge on renders that are blurred, shifted, tinted, mirrored or went through the VAE."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from distill.pocket.judge import build_network, split_logits
from distill.pocket.make import progress
from distill.pocket.make.pictures import random_subject, to_tensor
from distill.pocket.make.vae import Vae
from distill.pocket.world import VALUES, Attributes


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """How the judge is trained."""

    renders: int = 12000
    reconstructed: int = 1000
    steps: int = 1800
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    seed: int = 2


def labels(subjects: list[Attributes]) -> torch.Tensor:
    """(B, attributes): each attribute's index among its values."""
    return torch.tensor([[VALUES[name].index(getattr(a, name)) for name in VALUES] for a in subjects])


def labelled_renders(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (B, 3, 128, 128) uint8 and labels; half of the subjects bear a kept-out attribute."""
    rng = random.Random(f"judge {seed}")
    pictures, subjects = [], []
    for _ in range(count):
        attributes, image = random_subject(rng, 0.5)
        subjects.append(attributes)
        pictures.append(((to_tensor([image]) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(pictures), labels(subjects)


@torch.no_grad()
def through_vae(vae: Vae, pictures: torch.Tensor, noise: float) -> torch.Tensor:
    """uint8 pictures through the VAE, with noise of that share of the latents' spread: uint8."""
    outputs = []
    vae = vae.to(memory_format=torch.channels_last)
    for start in range(0, len(pictures), 16):
        chunk = pictures[start : start + 16]
        with torch.autocast(pictures.device.type, torch.bfloat16):
            latents = vae.encode(chunk.float() / 127.5 - 1).latent_dist.mean
            latents = latents + torch.randn_like(latents) * latents.std() * noise
            output = vae.decode(latents).sample.float()
        outputs.append(((output + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(outputs)


def augment(pictures: torch.Tensor) -> torch.Tensor:
    """Shift, tint and add noise to all; mirror one quarter of the batch, blur another."""
    size = pictures.shape[-1]
    padded = torch.nn.functional.pad(pictures, (5, 5, 5, 5), mode="replicate")
    dx, dy = (int(torch.randint(0, 11, ()).item()) for _ in range(2))
    pictures = padded[:, :, dy : dy + size, dx : dx + size]
    quarters = list(pictures.chunk(4))
    quarters[1] = quarters[1].flip(-1)
    quarters[2] = torch.nn.functional.interpolate(
        torch.nn.functional.avg_pool2d(quarters[2], 2), scale_factor=2.0, mode="bilinear"
    )
    pictures = torch.cat(quarters)
    tint = torch.empty(len(pictures), 3, 1, 1).uniform_(0.9, 1.1)
    lift = torch.empty(len(pictures), 1, 1, 1).uniform_(-0.08, 0.08)
    grain = torch.randn_like(pictures) * torch.empty(len(pictures), 1, 1, 1).uniform_(0, 0.12)
    return (pictures * tint + lift + grain).clamp(-1, 1)


def train_judge(state_path: Path, vae: Vae | None, options: JudgeOptions) -> Iterator[tuple[int, float]]:
    """Train, going on from `state_path`; yields (step, loss)."""
    torch.manual_seed(options.seed)
    network = build_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=1e-2)
    first = 0
    if (state := progress.load_state(state_path)) is not None:
        network.load_state_dict(state["judge"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    pictures, answers = labelled_renders(options.seed, options.renders)
    if vae is not None:
        seen = options.reconstructed
        pictures = torch.cat([pictures, *(through_vae(vae, pictures[:seen], noise) for noise in (0.0, 0.15))])
        answers = torch.cat([answers, answers[:seen], answers[:seen]])
    clock = progress.Clock(60)
    for step in range(first, options.steps):
        progress.set_learning_rate(optimizer, progress.learning_rate_factor(step, options.steps, options.warmup))
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(0, len(pictures), (options.batch,), generator=generator)
        logits = split_logits(network(augment(pictures[rows].float() / 127.5 - 1)))
        losses = [
            torch.nn.functional.cross_entropy(part, answers[rows, i], label_smoothing=0.02)
            for i, part in enumerate(logits.values())
        ]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        if clock.due() or step + 1 == options.steps:
            state = {"judge": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            progress.save_state(state_path, state)
        yield step, loss.item()


def write_judge(state_path: Path, path: Path) -> None:
    """Write the trained judge as fp16 safetensors."""
    state = progress.load_state(state_path)
    if state is None:
        raise FileNotFoundError(state_path)
    weights = {name: w.half() if w.is_floating_point() else w for name, w in state["judge"].items()}
    save_file(weights, str(path), metadata={"format": "pt"})


@torch.inference_mode()
def accuracy(network: torch.nn.Module, pictures: torch.Tensor, answers: torch.Tensor) -> dict[str, float]:
    """Share of right answers per attribute on uint8 pictures."""
    network.eval()
    logits = torch.cat(
        [network(pictures[start : start + 64].float() / 127.5 - 1) for start in range(0, len(pictures), 64)]
    )
    parts = split_logits(logits)
    return {
        name: (part.argmax(-1) == answers[:, i]).float().mean().item() for i, (name, part) in enumerate(parts.items())
    }
