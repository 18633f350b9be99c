"""How many samples until a LoRA knows the picture as well as the field's recipe does at its end?

    python benchmarks/samples.py --recipes "One Image" "plain 16, 1e-4" "plain 16" ours --subjects 6

Every epoch of every recipe is asked for one fixed set of held-out noises: 20 timesteps, one from each twentieth of the
range, with noise that no training draws, the same for all trainers, on the whole picture with its caption. The score is
the share of the checkpoint's own error that is gone. A sample is one picture forwards and backwards, which costs the
same arithmetic in each recipe of one kind, so samples are FLOP; a trained text encoder adds 1 % (`speed.md`). The
recipes of kohya's are trained by our loop, whose losses are kohya's to 6e-6 (`kohya_parity.md`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity
import fidelity_bank as bank
import torch
import torch.nn.functional as F
from fidelity_recipes import batch_of
from fidelity_sampling import merged

from distill.conditioning import hidden_states, tokenize
from distill.host import Models
from distill.hosts.standalone import Standalone
from distill.pipeline import prepare
from distill.pocket import CHECKPOINT, world
from distill.training.encode import encode_picture
from distill.training.noise import diffuse, target_of

STRATA = 20
SEED = 2**31  # no training of the bench has it


class HeldOut:
    """The fixed set; `losses` are those of the LoRA that is on."""

    def __init__(self, models: Models, latents: torch.Tensor, clip_skip: int) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self._models, self._latents, self._clip_skip = models, latents.expand(STRATA, -1, -1, -1), clip_skip
        width = len(models.alphas_cumprod) / STRATA
        within = torch.rand(STRATA, generator=generator)
        self._timesteps = ((torch.arange(STRATA) + within) * width).long()
        self._noise = torch.randn(self._latents.shape, generator=generator)

    @torch.no_grad()
    def losses(self, caption: str) -> torch.Tensor:
        """(20,) mean squared errors."""
        models = self._models
        states = hidden_states(models.text_encoder, tokenize(models.tokenizer, [caption]), self._clip_skip)
        noisy = diffuse(self._latents, self._noise, self._timesteps, models.alphas_cumprod)
        target = target_of(self._latents, self._noise, self._timesteps, models.alphas_cumprod, models.prediction_type)
        answer = models.unet(noisy, self._timesteps, states.expand(STRATA, -1, -1)).sample
        return F.mse_loss(answer, target, reduction="none").mean((1, 2, 3))


def main() -> None:
    """Train, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", required=True, help="as benchmarks/fidelity.py; the first is the peer")
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--samples", type=int, default=120)
    parser.add_argument("--tuning", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("samples.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number in range(arguments.first, arguments.first + arguments.subjects):
        subject = bank.subject(number, bank.TUNING if arguments.tuning else bank.REPORTING)
        for recipe in arguments.recipes:
            course = scores(recipe, subject, arguments.samples)
            with arguments.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"recipe": recipe, "subject": number, "scores": course}) + "\n")
    print(table(arguments.out, arguments.recipes))


def scores(recipe: str, subject: bank.Subject, samples: int) -> dict[int, float]:
    """Samples seen -> score, for every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(CHECKPOINT, lora_dir=Path(folder))
        options = fidelity.options_of(recipe, subject, host, samples, keep_epochs=True)
        batch = batch_of(options)
        saved, _, trigger = fidelity.trained(host, subject, options)
        caption = f"{trigger} {', '.join(world.tags(subject.attributes))}"
        with host.borrow() as models:
            image = prepare(subject.picture, options.picture, models.native_px).image
            latents = encode_picture(models, image, flip=False)[0]
            held_out = HeldOut(models, latents, options.caption.clip_skip)
            off, found = held_out.losses(caption), {}
            for file in saved:
                with merged(models, file.path, 1.0):
                    found[file.step * batch] = round(1 - float((held_out.losses(caption) / off).mean()), 4)
    return found


def table(path: Path, recipes: list[str]) -> str:
    """Score at the end, and the samples until each recipe is as good as the first one is at its end."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    of = {
        recipe: {row["subject"]: _course(row["scores"]) for row in rows if row["recipe"] == recipe}
        for recipe in recipes
    }
    lines = ["| recipe | n | score at the end | samples until as good as the first | share |", "| --- " * 5 + "|"]
    for recipe in recipes:
        ends, counts = [], []
        for subject, course in of[recipe].items():
            goal = of[recipes[0]][subject]
            ends.append(course[-1][1])
            counts.append(_until(course, goal[-1][1]) / goal[-1][0])
        counts.sort()
        total = next(iter(of[recipes[0]].values()))[-1][0]
        lines.append(
            f"| {recipe} | {len(ends)} | {statistics.mean(ends):.3f} | {statistics.median(counts) * total:.0f} "
            f"| {statistics.median(counts):.2f} ({counts[0]:.2f} to {counts[-1]:.2f}) |"
        )
    return "\n".join(lines)


def _course(scores: dict[str, float]) -> list[tuple[int, float]]:
    return sorted((int(samples), score) for samples, score in scores.items())


def _until(course: list[tuple[int, float]], goal: float) -> float:
    """Samples at which the course first reaches the goal, between two epochs in proportion; infinite if never."""
    before = (0, 0.0)
    for samples, score in course:
        if score >= goal:
            share = (goal - before[1]) / max(score - before[1], 1e-9)
            return before[0] + share * (samples - before[0])
        before = (samples, score)
    return float("inf")


if __name__ == "__main__":
    main()
