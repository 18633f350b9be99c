"""Likeness against obedience: recipes side by side on subjects whose truth is known, judged in the pocket world.

    python benchmarks/fidelity.py --published --first 2 --subjects 24 --out fidelity.jsonl --page fidelity.md
    python benchmarks/fidelity.py --recipes "plain 16" ours --subjects 24 --seeds 4 --out other.jsonl

Each recipe trains one LoRA a subject; then twelve prompts, several seeds each, are drawn at each weight and the judge
reads what they show. Results are appended to --out line by line; what is there already is not done again, so that a
run can be broken off, and several can share the work (--shard 0/2, --shard 1/2). Options are chosen on --tuning
subjects.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity_bank as bank
import fidelity_page
from fidelity_recipes import POCKET, PUBLISHED, RECIPES, at_samples, batch_of, values
from fidelity_sampling import merged, pictures, quick, spread

from distill.events import Saved
from distill.host import Models
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.pipeline import distill, prepare, prepare_all
from distill.plan import Plan
from distill.pocket import CHECKPOINT, world
from distill.pocket.judge import Judge, Reading
from distill.training.encode import encode_picture
from distill.training.loop import Step
from distill.training.meters import Meters

FIRST_SEED = 1


def main() -> None:
    """Train, sample, judge; and write the page of what was judged."""
    arguments = _arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    judge = Judge()
    for run in PUBLISHED if arguments.published else [{}] if arguments.recipes else []:
        _run(argparse.Namespace(**{**vars(arguments), **run}), judge)
    if arguments.page:
        before = arguments.page.read_text("utf-8") if arguments.page.is_file() else ""
        arguments.page.write_text(fidelity_page.page(arguments.out, before), "utf-8")


def _run(arguments: argparse.Namespace, judge: Judge) -> None:
    """What is not done yet of its recipes and subjects."""
    rows = filter(fidelity_page.is_last, fidelity_page.rows(arguments.out))
    done = {(row["recipe"], row["subject"], row["total"], row["weight"]) for row in rows}
    shard, shards = map(int, arguments.shard.split("/"))
    first = bank.TUNING if arguments.tuning else bank.REPORTING
    for number in range(arguments.first + shard, arguments.first + arguments.subjects, shards):
        subject = bank.subject(number, first)
        for recipe in ("base", *arguments.recipes):
            total, wanted = (0, [0.0]) if recipe == "base" else (arguments.total, arguments.weights)
            weights = [weight for weight in wanted if (recipe, number, total, weight) not in done]
            if not weights:
                continue
            rows = list(_measured(recipe, subject, judge, arguments, weights))
            with arguments.out.open("a", encoding="utf-8") as out:
                for row in rows:
                    out.write(json.dumps({"recipe": recipe, "subject": number, "total": total, **row}) + "\n")
            print(f"subject {number} ({subject.attributes.novel}): {recipe}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=[], help=f"of {', '.join(RECIPES)}; or A=1,B=2")
    parser.add_argument("--published", action="store_true", help="the runs of fidelity.md instead of --recipes")
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--tuning", action="store_true", help="subjects that options may be chosen on")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument(
        "--samples", type=int, nargs="*", default=[], help="epochs to judge, by their samples; else the last"
    )
    parser.add_argument("--total", type=int, default=0, help="train each recipe so many samples; else its own")
    parser.add_argument("--weights", type=float, nargs="*", default=[0.8], help="the first for earlier epochs, too")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path("fidelity.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("fidelity-work"), help="folder for class pictures")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--page", type=Path, help="make the tables of that page anew from --out")
    arguments = parser.parse_args()
    if not (arguments.recipes or arguments.published or arguments.page):
        parser.error("nothing to do: give --recipes, --published or --page")
    return arguments


def _measured(
    recipe: str, subject: bank.Subject, judge: Judge, arguments: argparse.Namespace, weights: list[float]
) -> Iterator[dict[str, Any]]:
    """One row for each judged epoch and weight; earlier epochs come with the first weight of all."""
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(arguments.checkpoint, lora_dir=Path(folder))
        host.work_dir = arguments.work  # class pictures are made once for all subjects
        if recipe == "base":
            with host.borrow() as models:
                judged = _judged(quick(models), subject, "", judge, arguments.seeds)
                yield {"step": 0, "weight": 0.0, "seconds": 0.0, **judged}
            return
        samples = arguments.samples if arguments.weights[0] in weights else []
        options = options_of(recipe, subject, host, arguments.total, keep_epochs=bool(samples))
        saved, seconds, trigger = trained(host, subject, options)
        batch = batch_of(options)
        wanted = [file for file in saved if file.step * batch in samples] or saved[-1:]
        skip = options.caption.clip_skip
        with host.borrow() as models:
            meters = _meters(models, subject, trigger, options)
            drawing = quick(models)
            for file in wanted:
                with merged(models, file.path, 1.0):
                    reading = asdict(meters.read())
                for weight in weights if file is wanted[-1] else arguments.weights[:1]:
                    with merged(drawing, file.path, weight, models):
                        judged = _judged(drawing, subject, trigger, judge, arguments.seeds, skip)
                    yield {
                        "step": file.step * batch,
                        "weight": weight,
                        "seconds": seconds[file.step],
                        "meters": reading,
                        **judged,
                    }


def options_of(
    recipe: str, subject: bank.Subject, host: Standalone, total: int, *, keep_epochs: bool = False
) -> Options:
    """The recipe in about `total` samples, without pictures and states."""
    quiet = {"preview": False, "sample_every": 0, "keep_state": False, "meters": False, "keep_epochs": keep_epochs}
    options = Options.from_flat(values(recipe) | POCKET | quiet)
    plan = Plan().counted(options.train)
    prepared, _ = prepare_all(subject.picture, options.picture, host.loaded().native_px, plan)
    return at_samples(options, total, len(prepared.cuts))


def _meters(models: Models, subject: bank.Subject, trigger: str, options: Options) -> Meters:
    image = prepare(subject.picture, options.picture, models.native_px).image
    tags = world.tags(subject.attributes)
    return Meters(
        models,
        encode_picture(models, image, flip=False)[0],
        f"{trigger} {', '.join(tags)}",
        trigger,
        subject.attributes.person,
        clip_skip=options.caption.clip_skip,
    )


def trained(host: Standalone, subject: bank.Subject, options: Options) -> tuple[list[Saved], dict[int, float], str]:
    """The files, the CPU seconds since the first step began by step, the trigger."""
    saved: list[Saved] = []
    seconds: dict[int, float] = {}
    trigger, spent, last = "", 0.0, time.process_time()
    for event in distill(host, subject.picture, world.tags(subject.attributes), options):
        now = time.process_time()
        if isinstance(event, Step):
            spent += now - last
            seconds[event.index] = spent
        if isinstance(event, Saved):
            saved.append(event)
        trigger = getattr(event, "trigger", trigger)
        last = now
    return saved, seconds, trigger


def _judged(
    models: Models, subject: bank.Subject, trigger: str, judge: Judge, seeds: int, clip_skip: int = 1
) -> dict[str, Any]:
    asked = bank.prompts(subject)
    texts = [text_of(prompt, trigger) for prompt in asked]
    images = pictures(models, texts, range(FIRST_SEED, FIRST_SEED + seeds), clip_skip)
    readings = judge.read_all(images)
    hits: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    spreads = {}
    whole = readings[:seeds]  # all captions as they are, by the same seeds
    for i, prompt in enumerate(asked):
        of_prompt = slice(i * seeds, (i + 1) * seeds)
        for reading, unchanged in zip(readings[of_prompt], whole):
            for axis, hit in _answers(prompt, reading, unchanged, subject.attributes):
                hits[axis][0] += hit
                hits[axis][1] += 1
        if prompt.kind in ("replicate", "few"):
            spreads[prompt.kind] = round(spread(images[of_prompt]), 4)
    return {"hits": dict(hits), "spread": spreads}


def text_of(prompt: bank.Prompt, trigger: str) -> str:
    """What the prompt says, with the trigger where it calls the subject."""
    text = ", ".join(prompt.tags)
    return f"{trigger} {text}" if trigger and prompt.triggered else text


def _answers(prompt: bank.Prompt, reading: Reading, whole: Reading, a: world.Attributes) -> Iterator[tuple[str, bool]]:
    """(axis, whether it is so) for one picture; `whole` is what the one of the same seed with all captions shows."""
    read = {name: value for name, (value, _) in reading.items()}
    if prompt.kind == "class":
        yield "bleed", read["novel"] == a.novel
        yield from (("class", read[name] == value) for name, value in prompt.kept.items())
        return
    yield "likeness", read["novel"] == a.novel
    yield f"likeness {prompt.kind}", read["novel"] == a.novel
    for name, value in prompt.changed.items():
        yield "obedience", read[name] == value
        yield prompt.kind, read[name] == value
    if prompt.kind == "few":
        yield "leak", read["background"] == a.background
        yield from (("recall", read[name] == getattr(a, name)) for name in bank.IDENTITY[1:])
        return
    yield from (("kept", read[name] == value) for name, value in prompt.kept.items())
    if prompt.kind == "remove":
        yield from (("identity", read[name] == whole[name][0]) for name in (*bank.IDENTITY, "novel"))


if __name__ == "__main__":
    main()
