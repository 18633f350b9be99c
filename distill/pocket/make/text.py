"""Pretrains the text encoder: every tag's last token, and the caption's end, must tell what was named."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from distill.pocket.make import captions as caption_ids
from distill.pocket.make import progress
from distill.pocket.make.networks import WIDTH, TextEncoder, build_text_encoder
from distill.pocket.world import VALUES, sample, tags


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How the text encoder is pretrained."""

    steps: int = 650
    batch: int = 48
    learning_rate: float = 1e-3
    warmup: int = 100
    seed: int = 3


class AttributeHeads(nn.Module):
    """Linear heads from one token's state to each attribute's value or "unnamed"."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = [1 + len(VALUES[name]) for name in caption_ids.ASKED]
        self.linear = nn.Linear(WIDTH, sum(self.widths))

    def loss(self, states: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean cross entropy and share of right answers: states (N, width), answers (N, attributes)."""
        parts = self.linear(states).split(self.widths, dim=-1)
        losses = [nn.functional.cross_entropy(part, answers[:, i]) for i, part in enumerate(parts)]
        right = torch.stack([part.argmax(-1) for part in parts], dim=1) == answers
        return torch.stack(losses).mean(), right.float().mean()


def train_text(state_path: Path, options: TextOptions) -> Iterator[tuple[int, float, float, float]]:
    """Train, going on from `state_path`; yields (step, loss, right at tag ends, right at the caption's end)."""
    device = progress.pick_device()
    torch.manual_seed(options.seed)
    text_encoder, heads = build_text_encoder().to(device).train(), AttributeHeads().to(device)
    parameters = [*text_encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    first = 0
    if (state := progress.load_state(state_path)) is not None:
        text_encoder.load_state_dict(state["text_encoder"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    clock = progress.Clock(60)
    for step in range(first, options.steps):
        progress.set_learning_rate(optimizer, progress.learning_rate_factor(step, options.steps, options.warmup))
        rng = random.Random(f"text {options.seed} {step}")
        batch = [caption_ids.draw_caption(rng, tags(sample(rng))) for _ in range(options.batch)]
        states = text_encoder(caption_ids.pad(batch).to(device)).last_hidden_state  # (B, tokens, width)
        places = [(i, end) for i, caption in enumerate(batch) for end in caption.tag_ends]
        named = [caption_ids.answers(meaning) for caption in batch for meaning in caption.meanings]
        rows, columns = (torch.tensor(x, device=device) for x in zip(*places, strict=True))
        tag_loss, tag_right = heads.loss(states[rows, columns], torch.tensor(named, device=device))
        ends = torch.tensor([len(caption.ids) - 1 for caption in batch], device=device)
        whole = torch.tensor([caption_ids.answers(caption.whole) for caption in batch], device=device)
        end_states = states[torch.arange(len(batch), device=device), ends]
        end_loss, end_right = heads.loss(end_states, whole)
        loss = tag_loss + end_loss
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if clock.due() or step + 1 == options.steps:
            weights = {"text_encoder": text_encoder.state_dict(), "heads": heads.state_dict()}
            progress.save_state(state_path, {**weights, "optimizer": optimizer.state_dict(), "step": step + 1})
        yield step, loss.item(), tag_right.item(), end_right.item()


def load_text_encoder(state_path: Path) -> TextEncoder:
    """The pretrained text encoder."""
    state = progress.load_state(state_path)
    if state is None:
        raise FileNotFoundError(state_path)
    text_encoder = build_text_encoder()
    text_encoder.load_state_dict(state["text_encoder"])
    return text_encoder
