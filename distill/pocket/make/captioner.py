"""Makes the pocket captioner: a small BLIP that writes a pocket-world portrait's tags as one comma list.

    python -m distill.pocket.make.captioner --work FOLDER [--steps 2000] [--out distill/pocket/captioner]

Seeded and resumable: `FOLDER/state.pt` is written every few minutes, and each step's pictures come from the
seed and the step's number, so a run that was stopped goes on as if it had not been. More steps in all make a
slower schedule. The bundled one is what `--steps 9000` had reached after 1,000 steps (8 minutes on one core).
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.pocket import world
from distill.pocket.make import captioner_files
from distill.pocket.make.captioner_score import Score, score
from distill.pocket.render import render

if TYPE_CHECKING:
    import torch
    from PIL import Image

SIZE_PX = 128
BATCH = 32
MAX_TOKENS = 56
LEARNING_RATE = 1e-3
WARMUP_STEPS = 300
NOVEL_SHARE = 0.3
CLEAN_SHARE = 0.4
HELD_OUT_SEED = 977_000
SAVE_EVERY = 250
CHECK_EVERY = 1000


@dataclass(frozen=True)
class Portrait:
    """One picture with the tags that its caption names."""

    image: Image.Image
    tags: list[str]


def portrait(rng: random.Random, *, novel_share: float = NOVEL_SHARE) -> Portrait:
    """Draw a subject; a share of them shows a kept-out attribute, which the caption passes over."""
    novel = rng.choice(world.NOVEL) if rng.random() < novel_share else None
    attributes = world.sample(rng, novel)
    return Portrait(render(attributes, rng, SIZE_PX), world.tags(attributes))


def roughened(image: Image.Image, rng: random.Random) -> Image.Image:
    """A picture as it may come back from a VAE, a JPEG or a careless crop."""
    from PIL import Image, ImageEnhance, ImageFilter

    if rng.random() < 0.5:
        dx, dy = rng.uniform(-4, 4), rng.uniform(-4, 4)
        zoom = rng.uniform(0.95, 1.04)
        centre = SIZE_PX / 2 * (1 - zoom)
        matrix = (zoom, 0, centre + dx, 0, zoom, centre + dy)
        corner = image.getpixel((64, 1))
        image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=corner)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.6)))
    if rng.random() < 0.3:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.93, 1.06))
    if rng.random() < 0.3:
        packed = BytesIO()
        image.save(packed, "JPEG", quality=rng.randint(35, 95))
        image = Image.open(packed).convert("RGB")
    return image


def batch(rng: random.Random, vocabulary: captioner_files.Vocabulary) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (B, 3, 128, 128), as the model takes them, and token ids (B, T) with [PAD] at the end."""
    import numpy as np
    import torch

    portraits = [portrait(rng) for _ in range(BATCH)]
    images = [p.image if rng.random() < CLEAN_SHARE else roughened(p.image, rng) for p in portraits]
    levels = np.stack([np.asarray(image, dtype=np.float32) for image in images])
    noise = np.random.default_rng(rng.getrandbits(32))
    sigma = noise.uniform(0, 10, (BATCH, 1, 1, 1)) * (noise.random((BATCH, 1, 1, 1)) < 0.5)
    levels = levels + (noise.standard_normal(levels.shape) * sigma).astype(np.float32)
    rows = [vocabulary.encode(", ".join(p.tags)) for p in portraits]
    width = max(len(row) for row in rows)
    tokens = torch.tensor([row + [vocabulary.pad] * (width - len(row)) for row in rows])
    return captioner_files.normalised(torch.from_numpy(levels)), tokens


def loss_of(model: Any, pixels: torch.Tensor, tokens: torch.Tensor, pad: int) -> torch.Tensor:
    """Cross-entropy of each next token given the picture and the ones before."""
    import torch.nn.functional as F

    seen = model.vision_model(pixel_values=pixels)[0]  # (B, 1 + patches, C)
    logits = model.text_decoder(input_ids=tokens[:, :-1], encoder_hidden_states=seen).logits
    return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], ignore_index=pad)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def check(model: Any, vocabulary: captioner_files.Vocabulary, count: int = 200) -> Score:
    """How well the model tags `count` held-out portraits without kept-out attributes."""
    import numpy as np
    import torch

    rng = random.Random(HELD_OUT_SEED)
    portraits = [portrait(rng, novel_share=0) for _ in range(count)]
    levels = np.stack([np.asarray(p.image, dtype=np.float32) for p in portraits])
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        pixels = captioner_files.normalised(torch.from_numpy(levels)).to(device)
        rows = model.generate(pixel_values=pixels, max_new_tokens=MAX_TOKENS, num_beams=1).tolist()
    model.train()
    return score([(p.tags, vocabulary.decode(row).split(", ")) for p, row in zip(portraits, rows, strict=True)])


def train(work: Path, steps: int, seed: int) -> Any:
    """Train, or go on from `work/state.pt`, and return the finished model."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    vocabulary = captioner_files.Vocabulary.of_the_world()
    model = captioner_files.untrained(len(vocabulary.words)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.02, betas=(0.9, 0.98))
    first = _resume(work, model, optimizer)
    started = time.monotonic()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        pixels, tokens = batch(random.Random(f"{seed}/{step}"), vocabulary)
        loss: Any = loss_of(model, pixels.to(device), tokens.to(device), vocabulary.pad)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"step {step + 1}/{steps} loss {loss.item():.4f} {pace:.2f} s/step", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            _save_state(work, model, optimizer, step + 1)
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            print(f"step {step + 1}: {check(model, vocabulary)}", flush=True)
    return model


def _resume(work: Path, model: Any, optimizer: Any) -> int:
    import torch

    file = work / "state.pt"
    if not file.exists():
        return 0
    state = torch.load(file, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save_state(work: Path, model: Any, optimizer: Any, step: int) -> None:
    import torch

    work.mkdir(parents=True, exist_ok=True)
    beside = work / "state.tmp"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, beside)
    beside.replace(work / "state.pt")


def main() -> None:
    """Train and write the captioner's folder."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the state of an unfinished run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "captioner")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0 takes all cores")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = train(args.work, args.steps, args.seed)
    captioner_files.write(model, captioner_files.Vocabulary.of_the_world(), args.out)


if __name__ == "__main__":
    main()
