"""The fidelity bench on a real SD1.5 checkpoint and real pictures: DINOv2 and CLIP judge, where you have their weights.

    python benchmarks/fidelity_photo.py --checkpoint model.safetensors --pictures a.png b.png --dino dinov2-base \
        --clip clip-vit-large-patch14 --recipes base ours "One Image" --out photo.jsonl

Captions stand beside each picture as .txt, the class first. Likeness is DINOv2's cosine to the picture, obedience
CLIP's cosine to the prompt (without the trigger), `changed` CLIP's cosine to what was taken away, added or set anew:
low is good for what was removed. `class` is drawn without the trigger: its likeness is bleed. These are DreamBooth's
measures (Ruiz et al. 2022), on the picture that was trained since there is no other.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from fidelity_page import interval, rows
from fidelity_recipes import at_samples, values
from PIL import Image

from distill.captions.tags import without_background
from distill.events import Captioned, Saved
from distill.hosts.standalone import Standalone
from distill.options import Options, SampleOptions
from distill.output.lora_file import read
from distill.output.sampling import generate
from distill.pipeline import distill

ADDED = ("wearing a top hat", "holding an umbrella")
SETTINGS = ("on a beach", "in a library at night")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
QUIET = {"preview": False, "sample_every": 0, "keep_state": False, "keep_epochs": False, "meters": False}
AXES = ("likeness", "obedience", "changed")


@dataclass(frozen=True)
class Prompt:
    """One thing that is asked for."""

    kind: str
    tags: tuple[str, ...]
    changed: str = ""  # what it takes away, adds or sets
    triggered: bool = True


class Eyes:
    """DINOv2 and CLIP, each from its folder; embeddings of length 1."""

    def __init__(self, dino: Path, clip: Path) -> None:
        from transformers import AutoModel, AutoTokenizer, CLIPModel

        self._dino: Any = AutoModel.from_pretrained(dino).eval()
        self._clip: Any = CLIPModel.from_pretrained(clip).eval()
        self._words: Any = AutoTokenizer.from_pretrained(clip)

    @torch.no_grad()
    def looks(self, image: Image.Image) -> torch.Tensor:
        """(C,) by DINOv2."""
        pixels = _pixels(image, self._dino.config.image_size, *IMAGENET)
        return _unit(self._dino(pixels).last_hidden_state[0, 0])

    @torch.no_grad()
    def shows(self, image: Image.Image) -> torch.Tensor:
        """(C,) by CLIP."""
        pixels = _pixels(image, self._clip.config.vision_config.image_size, *OPENAI)
        return _unit(self._clip.visual_projection(self._clip.vision_model(pixels).pooler_output)[0])

    @torch.no_grad()
    def means(self, text: str) -> torch.Tensor:
        """(C,) by CLIP."""
        tokens = self._words([text], truncation=True, max_length=77, return_tensors="pt")
        return _unit(self._clip.text_projection(self._clip.text_model(**tokens).pooler_output)[0])


def main() -> None:
    """Train, draw, judge, append; then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--dino", type=Path, required=True, help="folder of a DINOv2 model")
    parser.add_argument("--clip", type=Path, required=True, help="folder of a CLIP model")
    parser.add_argument("--recipes", nargs="*", default=["base", "ours", "One Image"])
    parser.add_argument("--total", type=int, default=120)
    parser.add_argument("--weight", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sample-steps", type=int, default=25)
    parser.add_argument("--work", type=Path, default=Path("fidelity-work"))
    parser.add_argument("--out", type=Path, default=Path("fidelity-photo.jsonl"))
    arguments = parser.parse_args()
    eyes = Eyes(arguments.dino, arguments.clip)
    done = {(row["recipe"], row["subject"]) for row in rows(arguments.out)}
    for picture in arguments.pictures:
        for recipe in arguments.recipes:
            if (recipe, picture.name) not in done:
                found = list(judged(recipe, picture, eyes, arguments))
                with arguments.out.open("a", encoding="utf-8") as out:
                    out.writelines(json.dumps(row) + "\n" for row in found)
    print(table(rows(arguments.out)))


def prompts(tags: Sequence[str]) -> list[Prompt]:
    """What is asked of a picture with these captions, the class first; the same each time."""
    plain, rng = tuple(without_background(tags)), random.Random(", ".join(tags))
    taken = rng.sample(tags[1:], min(3, len(tags) - 1))
    made = [Prompt("replicate", tuple(tags))]
    made += [Prompt("remove", tuple(t for t in tags if t != tag), tag) for tag in taken]
    made += [Prompt("add", (*tags, tag), tag) for tag in ADDED]
    made += [Prompt("setting", (*plain, tag), tag) for tag in SETTINGS]
    return [*made, Prompt("few", tuple(tags[:1])), Prompt("class", tuple(tags), triggered=False)]


def judged(recipe: str, picture: Path, eyes: Eyes, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each prompt and seed."""
    tags = [tag.strip() for tag in picture.with_suffix(".txt").read_text("utf-8").split(",") if tag.strip()]
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(arguments.checkpoint, lora_dir=Path(folder))
        host.work_dir = arguments.work
        trigger, loras, source = "", [], Image.open(picture).convert("RGB")
        if recipe != "base":
            options = at_samples(Options.from_flat(values(recipe) | QUIET), arguments.total, 1)
            events = list(distill(host, source, tags, options))
            trigger = next(event.trigger for event in events if isinstance(event, Captioned))
            path = [event.path for event in events if isinstance(event, Saved)][-1]
            loras = [(read(path), arguments.weight)]
        wanted = replace(SampleOptions(), count=arguments.seeds, sample_steps=arguments.sample_steps)
        original = eyes.looks(source)
        with host.borrow() as models:
            for prompt in prompts(tags):
                text = ", ".join(prompt.tags)
                said = f"{trigger} {text}" if trigger and prompt.triggered else text
                for seed, image in enumerate(generate(models, said, wanted, loras=loras), wanted.sample_seed):
                    shown = eyes.shows(image)
                    yield {
                        "recipe": recipe,
                        "subject": picture.name,
                        "kind": prompt.kind,
                        "seed": seed,
                        "likeness": float(eyes.looks(image) @ original),
                        "obedience": float(shown @ eyes.means(text)),
                        "changed": float(shown @ eyes.means(prompt.changed)) if prompt.changed else None,
                    }


def table(of: Sequence[dict[str, Any]]) -> str:
    """Recipe, kind and the three cosines, with intervals over the pictures."""
    grouped = defaultdict(list)
    for row in of:
        grouped[row["recipe"], row["kind"]].append(row)
    lines = ["| recipe | prompt | n | " + " | ".join(AXES) + " |", "| --- " * (3 + len(AXES)) + "|"]
    for (recipe, kind), rows_of in grouped.items():
        lines.append("| " + " | ".join([recipe, kind, str(len(rows_of)), *(_told(rows_of, a) for a in AXES)]) + " |")
    return "\n".join(lines)


def _told(of: Sequence[dict[str, Any]], axis: str) -> str:
    if any(row[axis] is None for row in of):
        return "-"

    def mean(drawn: Sequence[dict[str, Any]]) -> float:
        return statistics.fmean(row[axis] for row in drawn)

    low, high = interval(of, mean)
    return f"{mean(of):.3f} ({low:.3f}-{high:.3f})"


def _pixels(image: Image.Image, edge: int, mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """(1, 3, edge, edge), the whole picture in a square."""
    import numpy as np

    array = np.asarray(image.convert("RGB").resize((edge, edge), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    pixels = (torch.from_numpy(array) - torch.tensor(mean)) / torch.tensor(deviation)
    return pixels.permute(2, 0, 1)[None]


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return vector.float() / vector.float().norm()


if __name__ == "__main__":
    main()
