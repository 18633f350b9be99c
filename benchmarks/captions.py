"""Are the captions right, and does grounding tell what a checkpoint sees? In the pocket world the truth is known.

    python benchmarks/captions.py [--count 200] [--tuning] [--raw FILE]
    python benchmarks/captions.py --few 40

First the pocket captioner's tags on portraits as rendered, softened as a VAE does, and with a kept-out attribute. Then
grounding on as many portraits, every other one with a kept-out attribute: captions that are there, captions that are
not (another value of the same thing, or a thing that is missing), and words that the checkpoint has never heard. The
thresholds were settled on other portraits (`--tuning`). `--few`: a person wrote two captions that are there and two
that are not, alone or with what the captioner saw as their context.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image, ImageFilter

from distill.captions.backends import Desk, open_captioner
from distill.captions.portrait import read
from distill.captions.tags import without_class
from distill.host import Models
from distill.hosts.standalone import Standalone
from distill.options import CaptionOptions
from distill.pocket import CHECKPOINT, world
from distill.pocket.make.captioner_score import Score, score
from distill.pocket.render import render
from distill.training.grounding import KNOWN, Verdict, ground

SEED = 977_000  # not among the training seeds
UNHEARD = ("submarine", "gravel", "drimble", "vux nerp", "ploopy thrim", "tractor", "waterfall", "zindle")
KINDS = ("there", "another value", "missing thing", "kept-out", "never heard")
RESAMPLES = 2000

Row = tuple[int, str, str, float, str]
"""Portrait, kind, tag, score, verdict."""


def portraits(count: int, kind: str) -> list[tuple[Image.Image, list[str]]]:
    """`count` pictures of that kind with their true tags."""
    rng = random.Random(f"{SEED}/{kind}")
    drawn = []
    for i in range(count):
        attributes = world.sample(rng, world.NOVEL[i % len(world.NOVEL)] if kind == "kept-out" else None)
        image = render(attributes, rng)
        if kind == "softened":
            image = image.filter(ImageFilter.GaussianBlur(1.2))
        drawn.append((image, world.tags(attributes)))
    return drawn


def tags_right(count: int, kind: str) -> Score:
    """The pocket captioner's tags against the renderer's."""
    with open_captioner("pocket", CaptionOptions(), Desk()) as captioner:
        described = [(true, read(captioner.say(image))) for image, true in portraits(count, kind)]
    return score([(true, [d.class_word, *without_class(d.tags)]) for true, d in described])


def candidates(attributes: world.Attributes, rng: random.Random) -> list[tuple[str, str]]:
    """(kind, tag) to ask about one portrait: some that are there, as many that are not, and unheard words."""
    true = world.tags(attributes)
    values: dict[tuple[str, ...], list[str]] = {}
    for tag, meaning in world.tag_meanings().items():
        values.setdefault(tuple(meaning), []).append(tag)
    others, missing = [], []
    for names, tags in values.items():
        left = [tag for tag in tags if tag not in true]
        if names != ("person",) and left:
            (others if len(left) < len(tags) else missing).append(rng.choice(left))
    asked = [("there", tag) for tag in rng.sample(true[1:], 5)]
    asked += [("another value", tag) for tag in rng.sample(others, 3)]
    asked += [("missing thing", tag) for tag in rng.sample(missing, min(2, len(missing)))]
    asked += [("never heard", tag) for tag in rng.sample(UNHEARD, 2)]
    if attributes.novel != world.ABSENT:
        asked.append(("kept-out", attributes.novel))
    return asked


def grounded(models: Models, index: int, name: str) -> Iterator[Row]:
    """All answers about one portrait."""
    rng = random.Random(f"{SEED}/{name}/{index}")
    attributes = world.sample(rng, world.NOVEL[index // 2 % len(world.NOVEL)] if index % 2 else None)
    image, true = render(attributes, rng), world.tags(attributes)
    asked = candidates(attributes, rng)
    events = ground(
        models,
        image,
        [tag for _, tag in asked],
        class_word=true[0],
        among=true[1:],
        generator=torch.Generator().manual_seed(index),
    )
    verdicts = (event for event in events if isinstance(event, Verdict))
    for (kind, tag), verdict in zip(asked, verdicts, strict=True):
        yield index, kind, tag, verdict.score, verdict.verdict


def few(models: Models, count: int) -> dict[str, tuple[list[float], list[float]]]:
    """Scores of two captions that are there and two that are not, by what else was named."""
    rng = random.Random(f"{SEED}/few")
    scores: dict[str, tuple[list[float], list[float]]] = {"alone": ([], []), "with what the captioner saw": ([], [])}
    with open_captioner("pocket", CaptionOptions(), Desk()) as captioner:
        for _ in range(count):
            attributes = world.sample(rng)
            image = render(attributes, rng)
            true = without_class(world.tags(attributes))
            present = rng.sample(true, 2)
            absent = [tag for tag in without_class(world.tags(world.sample(rng))) if tag not in true][:2]
            seen = [tag for tag in without_class(read(captioner.say(image)).tags) if tag not in present]
            for (there, not_there), among in zip(scores.values(), ([], seen), strict=True):
                tags, generator = present + absent, torch.Generator().manual_seed(0)
                for told in ground(
                    models, image, tags, class_word=attributes.person, among=[*tags, *among], generator=generator
                ):
                    if isinstance(told, Verdict):
                        (there if told.tag in present else not_there).append(told.score)
    return scores


def auc(there: Sequence[float], not_there: Sequence[float]) -> float:
    """How often a caption that is there scores above one that is not; ties count half."""
    a, b = torch.tensor(there)[:, None], torch.tensor(not_there)[None]
    return ((a > b).float() + (a == b).float() / 2).mean().item()


def interval(rows: list[Row], kinds: Sequence[str]) -> tuple[float, float, float]:
    """AUC of "there" against `kinds` with its 95 % interval: portraits drawn again with replacement."""
    by_portrait: dict[int, tuple[list[float], list[float]]] = {}
    for index, kind, _, value, _ in rows:
        there, others = by_portrait.setdefault(index, ([], []))
        if kind == "there" or kind in kinds:
            (there if kind == "there" else others).append(value)
    scores, rng, drawn = list(by_portrait.values()), random.Random(0), []
    for _ in range(RESAMPLES):
        some = rng.choices(scores, k=len(scores))
        drawn.append(auc([v for s in some for v in s[0]], [v for s in some for v in s[1]]))
    drawn.sort()
    whole = auc([v for s in scores for v in s[0]], [v for s in scores for v in s[1]])
    return whole, drawn[round(0.025 * RESAMPLES)], drawn[round(0.975 * RESAMPLES) - 1]


def report(rows: list[Row]) -> None:
    """AUC and the table of verdicts, as Markdown."""
    print(f"\n{len({row[0] for row in rows})} portraits, {len(rows)} captions\n")
    print("| there against | AUC | 95 % interval |\n| --- | --- | --- |")
    for label, kinds in (
        ("**absent: another value or a missing thing**", KINDS[1:3]),
        *((kind, (kind,)) for kind in KINDS[1:]),
        ("all that is not there or never heard", KINDS[1:]),
    ):
        print("| {} | {:.3f} | {:.3f} to {:.3f} |".format(label, *interval(rows, kinds)))
    print("\n| the caption is | known | weak | unknown | captions |\n| --- | --- | --- | --- | --- |")
    for kind in KINDS:
        said = [row[4] for row in rows if row[1] == kind]
        shares = " | ".join(f"{said.count(verdict) / len(said):.1%}" for verdict in ("known", "weak", "unknown"))
        print(f"| {kind} | {shares} | {len(said)} |")


def main() -> None:
    """Caption, score, ground, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--tuning", action="store_true", help="the portraits that the thresholds were settled on")
    parser.add_argument("--few", type=int, default=0, help="portraits with four captions each, and nothing else")
    parser.add_argument("--raw", type=Path, help="JSON lines of every answer; what it has already is not asked again")
    arguments = parser.parse_args()
    if arguments.few:
        with Standalone(CHECKPOINT, lora_dir=Path(), device="cpu").borrow() as models:
            for name, (there, not_there) in few(models, arguments.few).items():
                known = sum(score >= KNOWN for score in there) / len(there)
                print(f"{name:30s} AUC {auc(there, not_there):.3f}, known of what is there {known:.0%}")
        return
    if not arguments.tuning:
        for kind in ("rendered", "softened", "kept-out"):
            print(f"{kind:9s} {tags_right(arguments.count, kind)}", flush=True)
    rows: list[Row] = []
    if arguments.raw and arguments.raw.is_file():
        rows = [tuple(json.loads(line)) for line in arguments.raw.read_text("utf-8").splitlines()]
    started = time.perf_counter()
    done = {row[0] for row in rows}
    with Standalone(CHECKPOINT, lora_dir=Path(), device="cpu").borrow() as models:
        for index in range(arguments.count):
            if index in done:
                continue
            answers = list(grounded(models, index, "tuning" if arguments.tuning else "grounding"))
            rows += answers
            if arguments.raw:
                with arguments.raw.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in answers)
    report(rows)
    print(f"\n{time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
