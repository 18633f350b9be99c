"""Does the class stay what it was? One LoRA a subject with and without regularization, in the pocket world.

    python benchmarks/regularization.py --subjects 8 --seeds 2 --out regularization.jsonl [--arms none generated ...]
    python benchmarks/regularization.py --table --out regularization.jsonl

Results are appended to --out line by line; what is there already is not done again. All LoRAs act at 1.0.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from pocket_lora import subject

from distill.conditioning import hidden_states, tokenize
from distill.events import Done
from distill.host import Models
from distill.hosts.standalone import Standalone
from distill.options import Options, SampleOptions
from distill.output.applying import applied
from distill.output.lora_file import Lora, read
from distill.output.sampling import generate
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, world
from distill.pocket.judge import Judge, Reading, agreement
from distill.pocket.render import render
from distill.training.encode import encode_picture
from distill.training.loop import Step
from distill.training.noise import diffuse

FIRST = 100  # subject number; those of the LoRA benchmark come before
OTHERS, TIMESTEPS = 6, (100, 350, 600, 850)
DRAWN, BARE_SEEDS, LIKENESS_SEEDS, SAMPLING_STEPS = 3, 3, 4, 10
SETTINGS = "{%s background}, {smile|serious|open mouth}, {close-up|upper body}" % "|".join(world.VALUES["background"])  # noqa: UP031
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "generated": {"reg_pictures": "generate"},
    "teacher: class 0.2": {"teacher_class": 0.2},
    "teacher: class 1": {"teacher_class": 1.0},
    "teacher: class 1, blank 0.25": {"teacher_class": 1.0, "teacher_blank": 0.25},
}
ROWS = {
    "drift": "answer moved, class prompts without trigger",
    "drift_own": "answer moved, own captions without trigger",
    "bleeds": "kept-out attribute in class prompts (%)",
    "changed": "attributes other than the base model's, class prompts (%)",
    "like": "bare class: attributes as the subject's (%)",
    "novel": "with trigger: kept-out attribute is there (%)",
    "named": "with trigger: named attributes (%)",
    "seconds": "training, CPU seconds",
}


@dataclass(frozen=True)
class Bank:
    """What is asked of the checkpoint with and without a LoRA: the same prompts, latents and noises each time."""

    prompts: tuple[str, ...]  # of other people of the class; none has a trigger
    latents: torch.Tensor  # (OTHERS, 4, h, w)
    own_prompt: str  # the subject's captions without the trigger
    own_latents: torch.Tensor  # (1, 4, h, w)

    @torch.no_grad()
    def answers(self, models: Models) -> torch.Tensor:
        """(OTHERS + 1, 2, timesteps, 4, h, w): with the caption and with none."""
        rows = zip((*self.prompts, self.own_prompt), torch.cat([self.latents, self.own_latents]))
        return torch.stack([_answers(models, prompt, latents[None]) for prompt, latents in rows])


def _answers(models: Models, prompt: str, latents: torch.Tensor) -> torch.Tensor:
    timesteps = torch.tensor(TIMESTEPS)
    noise = torch.randn((len(TIMESTEPS), *latents.shape[1:]), generator=torch.Generator().manual_seed(7))
    noisy = diffuse(latents.expand_as(noise), noise, timesteps, models.alphas_cumprod)
    states = hidden_states(models.text_encoder, tokenize(models.tokenizer, [prompt, ""]))
    return torch.stack([models.unet(noisy, timesteps, s.expand(len(timesteps), -1, -1)).sample for s in states])


def drift(base: torch.Tensor, now: torch.Tensor) -> list[float]:
    """For each prompt |e_on - e_off|^2 / |e_off(c) - e_off(0)|^2, the latter over all of them."""
    scale = (base[:, 0] - base[:, 1]).square().mean()
    moved = (now[:, 0] - base[:, 0]).square().flatten(1).mean(1)
    return [float(m / scale) for m in moved]


class Scene:
    """One subject, and what the bare checkpoint says and draws of its class."""

    def __init__(self, number: int, models: Models, judge: Judge) -> None:
        self.attributes, self.judge = subject(number), judge
        self.picture = render(self.attributes, random.Random(number))
        rng = random.Random(number + 10_000)
        others = [world.sample(rng) for _ in range(200)]
        others = [other for other in others if other.person == self.attributes.person][:OTHERS]
        self.prompts = tuple(", ".join(world.tags(other)) for other in others)
        latents = torch.cat([encode_picture(models, render(o, rng), flip=False)[0] for o in others])
        own = encode_picture(models, self.picture, flip=False)[0]
        self.bank = Bank(self.prompts, latents, ", ".join(world.tags(self.attributes)), own)
        self.answers = self.bank.answers(models)
        self.readings = self.drawn(models, ())

    def drawn(self, models: Models, loras: tuple[tuple[Lora, float], ...]) -> list[Reading]:
        """The judge's readings of class prompts: one picture a caption, several of the bare class."""
        bare = [(self.attributes.person, seed) for seed in range(BARE_SEEDS)]
        asked = [*((prompt, i) for i, prompt in enumerate(self.prompts[:DRAWN])), *bare]
        sample = [(p, SampleOptions(sample_seed=50 + seed, sample_steps=SAMPLING_STEPS)) for p, seed in asked]
        return self.judge.read_all([generate(models, p, options, loras=loras)[0] for p, options in sample])

    def measure(self, models: Models, path: Path, trigger: str) -> dict[str, float]:
        """All rows of one LoRA but the time."""
        lora, a = (read(path), 1.0), self.attributes
        with applied(models, [lora]):
            moved = drift(self.answers, self.bank.answers(models))
        readings = self.drawn(models, (lora,))
        names = [name for name in world.VALUES if name != "novel"]
        pairs = [(now[n][0], was[n][0]) for now, was in zip(readings, self.readings) for n in names]
        truth, bare = world.named(a), readings[-BARE_SEEDS:]
        sample = SampleOptions(count=LIKENESS_SEEDS, sample_steps=SAMPLING_STEPS)
        called = self.judge.read_all(generate(models, f"{trigger} {', '.join(world.tags(a))}", sample, loras=[lora]))
        named = world.from_tags(world.tags(a))
        return {
            "drift": statistics.fmean(moved[:-1]),
            "drift_own": moved[-1],
            "bleeds": _percent(r["novel"][0] == a.novel for r in readings),
            "changed": _percent(now != was for now, was in pairs),
            "like": _percent(ok for r in bare for ok in agreement(r, truth).values()),
            "novel": _percent(r["novel"][0] == a.novel for r in called),
            "named": _percent(ok for r in called for ok in agreement(r, named).values()),
        }

    def base_like(self) -> float:
        """How far the class is like the subject without any LoRA."""
        truth, bare = world.named(self.attributes), self.readings[-BARE_SEEDS:]
        return _percent(ok for r in bare for ok in agreement(r, truth).values())


def _percent(answers: Iterator[bool]) -> float:
    listed = list(answers)
    return 100 * sum(listed) / len(listed)


def main() -> None:
    """Train and measure, or print the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=FIRST, help="first subject's number")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="only print what is in --out")
    arguments = parser.parse_args()
    if not arguments.table:
        with tempfile.TemporaryDirectory() as folder:
            _measure_all(Standalone(CHECKPOINT, lora_dir=Path(folder)), arguments)
    print(table([json.loads(line) for line in arguments.out.read_text().splitlines()]))


def _measure_all(host: Standalone, arguments: argparse.Namespace) -> None:
    judge, out = Judge(), arguments.out
    there = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["subject"], row["seed"], row["arm"]) for row in there}
    for number in range(arguments.first, arguments.first + arguments.subjects):
        asked = [(number, seed, arm) for seed in range(arguments.seeds) for arm in arguments.arms]
        if not set(asked) - done:
            continue
        with host.borrow() as models:
            scene = Scene(number, models, judge)
        for _, seed, arm in (key for key in asked if key not in done):
            row = {"subject": number, "seed": seed, "arm": arm, **_one(host, scene, seed, arm)}
            with out.open("a") as file:
                file.write(json.dumps(row | {"base_like": scene.base_like()}) + "\n")
            print(row, file=sys.stderr, flush=True)


def _one(host: Standalone, scene: Scene, seed: int, arm: str) -> dict[str, float]:
    common = {"preview": False, "keep_epochs": False, "sample_every": 0, "seed": seed, "sample_steps": SAMPLING_STEPS}
    prompt = {"reg_prompt": f"{scene.attributes.person}, {SETTINGS}"} if "reg_pictures" in ARMS[arm] else {}
    options = Options.from_flat({**common, **prompt, **ARMS[arm]})
    spent, done = [], None
    for event in distill(host, scene.picture, world.tags(scene.attributes), options):
        if isinstance(event, Step):
            spent.append(time.process_time())
        if isinstance(event, Done):
            done = event
    assert done is not None
    trigger = " ".join(done.prompt.split(",")[0].split()[:-1])
    seconds = (spent[-1] - spent[0]) * len(spent) / (len(spent) - 1)
    with host.borrow() as models:
        return {**scene.measure(models, done.path, trigger), "seconds": seconds}


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and 95 % interval over the subjects (the seeds of each are averaged first), then against none, paired."""
    arms = [arm for arm in ARMS if any(row["arm"] == arm for row in rows)]
    lines = [f"| | {' | '.join(arms)} |", f"|{' --- |' * (len(arms) + 1)}"]
    for key, label in ROWS.items():
        cells = [_cell(list(_by_subject(rows, arm, key).values())) for arm in arms]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    for key in ("drift", "drift_own", "novel"):
        none = _by_subject(rows, "none", key)
        against = [_by_subject(rows, arm, key) for arm in arms]
        cells = [_cell([other[s] - none[s] for s in other if s in none], "+") for other in against]
        lines.append(f"| {ROWS[key]}: difference to none | {' | '.join(cells)} |")
    base = {row["subject"]: row["base_like"] for row in rows}
    count = {arm: sum(row["arm"] == arm for row in rows) for arm in arms}
    lines.append(
        f"\nLoRAs: {count}. Bare class without any LoRA: {statistics.fmean(base.values()):.1f} % as the subject."
    )
    return "\n".join(lines)


def _by_subject(rows: list[dict[str, Any]], arm: str, key: str) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["arm"] == arm:
            found.setdefault(row["subject"], []).append(row[key])
    return {number: statistics.fmean(values) for number, values in found.items()}


STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26, 11: 2.23, 12: 2.20}
"""97.5 % quantile of Student's t by the number of values."""


def _cell(values: list[float], sign: str = "") -> str:
    mean, n = statistics.fmean(values), len(values)
    digits = 3 if max(abs(v) for v in values) < 10 else 1
    if n < 2:
        return f"{mean:{sign}.{digits}f}"
    half = STUDENT.get(n, 2.0) * statistics.stdev(values) / n**0.5
    return f"{mean:{sign}.{digits}f} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()
