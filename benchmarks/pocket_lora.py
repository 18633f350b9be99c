"""Does a LoRA of one picture hold what it should, and do captions handle it? Judged in the pocket world.

    python benchmarks/pocket_lora.py [--subjects 20] [--seeds 4] [--checkpoint FILE]

Each subject is a portrait that no training ever saw, with one kept-out attribute and something in its hand. One LoRA
is trained on it with the default options. Then the judge reads pictures made with and without the LoRA.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from distill.events import Done, Step
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.sampling import generate
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, world
from distill.pocket.judge import Judge, agreement
from distill.pocket.render import render

FIRST_SUBJECT = 90_000  # far from every seed that the pocket checkpoint or its judge were trained on
RENAMED = (("garment_color", "background"), ("expression", "hair_color"))  # named anew at 0.6, two at a time


def subject(index: int) -> world.Attributes:
    """Subject number `index`: each kept-out attribute in turn, always something in the hand."""
    rng = random.Random(FIRST_SUBJECT + index)
    drawn = world.sample(rng, world.NOVEL[index % len(world.NOVEL)])
    return replace(drawn, holding=rng.choice(world.VALUES["holding"][1:]))


def other(value: str, name: str, rng: random.Random) -> str:
    """Another value of the attribute."""
    return rng.choice([v for v in world.VALUES[name] if v not in (value, world.ABSENT)])


def train(host: Standalone, image: Image.Image, tags: list[str], options: Options) -> tuple[Done, float]:
    """The LoRA and the seconds that its steps took."""
    steps, done = [], None
    for event in distill(host, image, tags, options):
        if isinstance(event, Step):
            steps.append(time.perf_counter())
        if isinstance(event, Done):
            done = event
    assert done is not None
    return done, (steps[-1] - steps[0]) * len(steps) / (len(steps) - 1)


def prompts(a: world.Attributes, rng: random.Random) -> Iterator[tuple[str, float, list[str], dict[str, str]]]:
    """(row, LoRA weight, tags, what the judge should read) for one subject."""
    tags, named = world.tags(a), world.from_tags(world.tags(a))
    for weight in (0.0, 0.6, 1.0):
        yield f"all captions at {weight}: kept-out attribute is there", weight, tags, {"novel": a.novel}
        yield f"all captions at {weight}: named attributes", weight, tags, named
        yield f"all captions at {weight}: object is held", weight, tags, {"holding": a.holding}
    fewer = [tag for tag in tags if not tag.startswith("holding ")]
    for weight in (0.8, 1.0):
        yield f"'holding ...' removed at {weight}: hand is empty", weight, fewer, {"holding": world.ABSENT}
    for names in RENAMED:
        changed = replace(a, **{name: other(getattr(a, name), name, rng) for name in names})
        for name in names:
            new = {name: getattr(changed, name)}
            yield f"{name} named anew at 0.6", 0.6, world.tags(changed), new
        yield "named anew at 0.6: kept-out attribute is there", 0.6, world.tags(changed), {"novel": a.novel}


def main() -> None:
    """Train, sample, judge, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="first subject's number; options were tuned on 1000 on")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--sheet", type=Path, help="PNG with one row of pictures a subject")
    parser.add_argument("--weights", type=Path, help="another judge than the one that ships")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="options other than the defaults")
    arguments = parser.parse_args()
    options = Options.from_flat({"preview": False, "keep_epochs": False, **_values(arguments.set)})
    hits: dict[str, list[bool]] = defaultdict(list)
    seconds, rows = [], []
    judge = Judge(arguments.weights) if arguments.weights else Judge()
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(arguments.checkpoint, lora_dir=Path(folder))
        for index in range(arguments.first, arguments.first + arguments.subjects):
            a, rng = subject(index), random.Random(index)
            source = render(a, rng)
            done, spent = train(host, source, world.tags(a), options)
            seconds.append(spent)
            rows.append([source, *_judge(host, a, done, options, arguments.seeds, judge, hits)])
            print(f"subject {index}: {a.novel}, {spent:.1f} s", file=sys.stderr, flush=True)
    print("| what the judge is asked | agrees | pictures |\n| --- | --- | --- |")
    for row, answers in hits.items():
        print(f"| {row} | {100 * sum(answers) / len(answers):.1f} % | {len(answers)} |")
    print(f"\nMedian training time {sorted(seconds)[len(seconds) // 2]:.1f} s for {options.train.steps} steps.")
    if arguments.sheet:
        _sheet(rows).save(arguments.sheet)


def _judge(
    host: Standalone,
    a: world.Attributes,
    done: Done,
    options: Options,
    seeds: int,
    judge: Judge,
    hits: dict[str, list[bool]],
) -> list[Image.Image]:
    shown = []
    trigger = " ".join(done.prompt.split(",")[0].split()[:-1])
    made: dict[tuple[float, str], list[Image.Image]] = {}
    with host.borrow() as models:
        for row, weight, tags, expected in prompts(a, random.Random(a.novel)):
            prompt = f"{trigger} {', '.join(tags)}" if weight else ", ".join(tags)
            if weight:
                prompt += f" <lora:{done.path.stem}:{weight}>"
            if (weight, prompt) not in made:
                sample = replace(options.sample, count=seeds)
                made[weight, prompt] = generate(models, prompt, sample, lora_dir=host.lora_dir)
                shown.append(made[weight, prompt][0])
            for reading in judge.read_all(made[weight, prompt]):
                hits[row] += agreement(reading, expected).values()
    return shown


def _sheet(rows: list[list[Image.Image]]) -> Image.Image:
    edge = rows[0][0].width
    sheet = Image.new("RGB", (edge * max(map(len, rows)), edge * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * edge, y * edge))
    return sheet


def _values(pairs: list[str]) -> dict[str, object]:
    kinds = Options().flat()
    split = [pair.split("=", 1) for pair in pairs]
    return {k: v == "True" if isinstance(kinds[k], bool) else type(kinds[k])(v) for k, v in split}


if __name__ == "__main__":
    main()
