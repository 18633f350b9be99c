"""How well the shipped pocket checkpoint draws what captions name, as its judge reads the pictures.

python benchmarks/pocket_world.py --pictures 500
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image

from distill.hosts.standalone import Standalone
from distill.pocket import CHECKPOINT, world
from distill.pocket.judge import Judge, Reading
from distill.pocket.make.pictures import random_subject, to_images, to_tensor
from distill.pocket.make.sampling import draw
from distill.pocket.world import Attributes


class Tally:
    """Counts agreement per attribute."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    def add(self, reading: Reading, expected: dict[str, str]) -> None:
        """Count one picture."""
        for name, value in expected.items():
            self.asked[name] += 1
            self.right[name] += reading[name][0] == value

    def share(self, name: str | None = None) -> float:
        """Of one attribute, or of all answers together."""
        if name is not None:
            return self.right[name] / max(1, self.asked[name])
        return self.right.total() / max(1, self.asked.total())


def judge_renders(judge: Judge, seed: int, count: int) -> tuple[Tally, list[tuple[Attributes, Image.Image]]]:
    """The judge on renders that it was not trained on; half of them bear a kept-out attribute."""
    rng = random.Random(f"held out {seed}")
    subjects = [random_subject(rng, 0.5) for _ in range(count)]
    tally = Tally()
    for (a, _), reading in zip(subjects, judge.read_all([image for _, image in subjects]), strict=True):
        tally.add(reading, {**world.named(a), "novel": a.novel})
    return tally, subjects


def judge_reconstructions(
    judge: Judge, vae: torch.nn.Module, subjects: list[tuple[Attributes, Image.Image]]
) -> tuple[Tally, float]:
    """The judge on the same pictures after the VAE, and the mean squared error on the scale -1..1."""
    tally, errors = Tally(), []
    for start in range(0, len(subjects), 16):
        chunk = subjects[start : start + 16]
        pictures = to_tensor([image for _, image in chunk])
        with torch.inference_mode():
            output = vae.decode(vae.encode(pictures).latent_dist.mean).sample
        errors.append((output.clamp(-1, 1) - pictures).square().mean(dim=(1, 2, 3)))
        for (a, _), reading in zip(chunk, judge.read_all(to_images(output)), strict=True):
            tally.add(reading, {**world.named(a), "novel": a.novel})
    return tally, torch.cat(errors).mean().item()


def write_sheet(path: Path, images: list[Image.Image], columns: int = 8) -> None:
    """The first pictures on one sheet."""
    side = images[0].width
    sheet = Image.new("RGB", (columns * side, -(-len(images) // columns) * side))
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * side, i // columns * side))
    sheet.save(path)


def main() -> None:
    """Print the figures as a table for benchmarks/pocket.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--cfg-scale", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write the first 48 pictures here")
    parser.add_argument("--weights", type=Path, help="another judge than the one that ships")
    options = parser.parse_args()
    judge = Judge(options.weights) if options.weights else Judge()
    rng = random.Random(f"captions {options.seed}")
    subjects = [world.sample(rng) for _ in range(options.pictures)]
    captions = [world.tags(a) for a in subjects]
    with Standalone(options.checkpoint, lora_dir=Path(), device="cpu").borrow() as models:
        renders, seen = judge_renders(judge, options.seed, options.pictures)
        rebuilt, error = judge_reconstructions(judge, models.vae, seen)
        prompts = [", ".join(tags) for tags in captions]
        networks = (models.unet, models.text_encoder, models.vae)
        images = draw(networks, prompts, options.seed, steps=options.steps, cfg_scale=options.cfg_scale)
    if options.sheet:
        write_sheet(options.sheet, images[:48])
    positive, everything, control, novel = Tally(), Tally(), Tally(), 0
    for i, (a, tags, reading) in enumerate(zip(subjects, captions, judge.read_all(images), strict=True)):
        control.add(reading, world.from_tags(captions[(i + 1) % len(captions)]))
        positive.add(reading, world.from_tags(tags))
        everything.add(reading, world.named(a))
        novel += reading["novel"][0] != world.ABSENT
    print(f"{options.pictures} random captions, CFG {options.cfg_scale:g}, {options.steps} steps:\n")
    print(f"- attributes that the caption names: {positive.share():.2%} as the judge reads them")
    print(f"- all attributes, absences too: {everything.share():.2%}")
    print(f"- control, each picture against the next one's caption: {control.share():.1%}")
    print(f"- a kept-out attribute where none was asked for: {novel / options.pictures:.1%}")
    print(f"- judge on held-out renders: {renders.share():.2%}")
    print(f"- judge on VAE reconstructions: {rebuilt.share():.2%}, MSE {error:.4f}\n")
    print("| Attribute | named in caption | absences too | judge, renders | judge, after the VAE |")
    print("|---|---|---|---|---|")
    for name in world.VALUES:
        cells = [tally.share(name) if tally.asked[name] else None for tally in (positive, everything, renders, rebuilt)]
        print(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.1%}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
