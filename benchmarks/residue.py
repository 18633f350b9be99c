"""Does the residue meter propose the caption that was left out, and nothing when none was? The pocket world knows.

    python benchmarks/residue.py [--subjects 10] [--captioner pocket none] [--work FOLDER] [--out FILE]

Each subject is trained twice: with all its captions, and without the one that names some optional thing (what is
held, window, hat, glasses ...). LoRAs are kept in --work, answers are appended to --out line by line; what is there
already is not done again. What was left out need not be in the LoRA: the judge looks at other pictures of it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity_bank as bank
from fidelity_recipes import POCKET
from fidelity_sampling import merged, pictures, quick

from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.library import listed
from distill.pipeline import desk_of, distill, prepare
from distill.pocket import CHECKPOINT, world
from distill.pocket.judge import Judge
from distill.residue import Asked, Residue, residue

LEFT_OUT = ("holding", *bank.OPTIONAL)
QUIET = {"preview": False, "sample_every": 0, "keep_state": False, "keep_epochs": False}
JUDGE = "judge"
JUDGED_SEEDS = range(100, 108)
IN_IT = 0.5  # so many more of the pictures show it with the LoRA

Row = dict[str, Any]


def main() -> None:
    """Train, ask, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first subject's number")
    parser.add_argument("--captioner", nargs="*", default=["pocket", "none"], help="none: the checkpoint itself")
    parser.add_argument("--work", type=Path, default=Path("residue-work"), help="folder for the LoRAs")
    parser.add_argument("--out", type=Path, default=Path("residue.jsonl"))
    arguments = parser.parse_args()
    for number in range(arguments.first, arguments.first + arguments.subjects):
        for left_out in ("", thing(bank.subject(number, bank.TUNING))):
            measure(number, left_out, arguments)
    report(rows(arguments.out))


def thing(subject: bank.Subject) -> str:
    """The attribute whose caption is left out: one of those that are there, in turn."""
    there = [name for name in LEFT_OUT if getattr(subject.attributes, name) != world.ABSENT]
    return there[subject.number % len(there)]


def measure(number: int, left_out: str, arguments: argparse.Namespace) -> None:
    """One LoRA, asked of by each captioner."""
    done = {(row["subject"], row["left_out"], row["captioner"]) for row in rows(arguments.out)}
    names = [*arguments.captioner, *([JUDGE] if left_out else [])]
    wanted = [name for name in names if (number, left_out, name) not in done]
    if not wanted:
        return
    subject = bank.subject(number, bank.TUNING)
    tags = world.tags(subject.attributes)
    kept = [tag for tag in tags if left_out not in world.tag_meanings()[tag]]
    options = Options.from_flat(POCKET | QUIET)
    host = Standalone(CHECKPOINT, lora_dir=arguments.work / f"{number:02d}-{left_out or 'all'}", device="cpu")
    host.lora_dir.mkdir(parents=True, exist_ok=True)
    if not listed(host.lora_dir):
        for _ in distill(host, subject.picture, kept, options):
            pass
    image = prepare(subject.picture, options.picture, host.loaded().native_px).image
    made = listed(host.lora_dir)[0]
    asked = Asked(lora=made.path, image=image, called=made.tags[0], captions=made.tags[1:])
    missing = ", ".join(tag for tag in tags if tag not in kept)
    for captioner in wanted:
        row = {"subject": number, "left_out": left_out, "caption": missing, "captioner": captioner}
        if captioner == JUDGE:
            answer = {**row, "shares": judged(host, asked, left_out, getattr(subject.attributes, left_out))}
        else:
            answer = {**row, **_answer(host, asked, options, captioner)}
        print(answer, file=sys.stderr, flush=True)
        with arguments.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(answer) + "\n")


def _answer(host: Standalone, asked: Asked, options: Options, captioner: str) -> Row:
    options = replace(options, caption=replace(options.caption, captioner=captioner))
    started = time.process_time()
    *_, found = residue(host, asked, options, desk_of(host, "pocket"))
    assert isinstance(found, Residue)
    return {"proposed": list(found.missing), "seconds": round(time.process_time() - started, 1)}


def judged(host: Standalone, asked: Asked, name: str, value: str) -> list[list[float]]:
    """For each prompt the share of pictures that show it, with the LoRA and without."""
    judge, shares = Judge(), []
    with host.borrow() as models:
        drawing = quick(models)
        for prompt in asked.prompts:
            of_prompt = []
            for weight in (1.0, 0.0):
                with merged(drawing, asked.lora, weight, models):
                    readings = judge.read_all(pictures(drawing, [prompt], JUDGED_SEEDS))
                of_prompt.append(sum(reading[name][0] == value for reading in readings) / len(readings))
            shares.append(of_prompt)
    return shares


def rows(file: Path) -> list[Row]:
    """What was answered already."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def hit(row: Row) -> bool:
    """Whether what was left out is proposed, in whatever words: "hat" for "red hat"."""
    return any(_is_that(tag, row["caption"]) for tag in row["proposed"])


def wrong(row: Row) -> int:
    """Proposals beside it."""
    return sum(not _is_that(tag, row["caption"]) for tag in row["proposed"])


def _is_that(tag: str, caption: str) -> bool:
    said, true = set(tag.split()), set(caption.split())
    return bool(true) and (said <= true or (tag == "holding something" and "holding" in true))


def report(answers: Sequence[Row]) -> None:
    """The tables, as Markdown."""
    there = {row["subject"] for row in answers if row["captioner"] == JUDGE and _is_there(row["shares"])}
    print("| who looks | proposed of those in the LoRA | 95 % interval | of those not in it | beside them | ", end="")
    print("all captions there: proposed | CPU seconds |\n| --- | --- | --- | --- | --- | --- | --- |")
    for captioner in dict.fromkeys(row["captioner"] for row in answers if row["captioner"] != JUDGE):
        of = [row for row in answers if row["captioner"] == captioner]
        left, whole = [r for r in of if r["left_out"]], [r for r in of if not r["left_out"]]
        hits = [hit(row) for row in left if row["subject"] in there]
        others = [hit(row) for row in left if row["subject"] not in there]
        low, high = _interval(hits)
        seconds = sorted(row["seconds"] for row in of)[len(of) // 2]
        print(f"| {captioner} | {sum(hits)} of {len(hits)} | {low:.0%} to {high:.0%} | ", end="")
        print(f"{sum(others)} of {len(others)} | {sum(map(wrong, left))} | ", end="")
        print(f"{sum(map(wrong, whole))} in {len(whole)} LoRAs | {seconds:.0f} |")
    _each(answers)


def _each(answers: Sequence[Row]) -> None:
    print("\n| left out | without captions | with all captions | proposed |\n| --- | --- | --- | --- |")
    for row in sorted((row for row in answers if row["captioner"] == JUDGE), key=lambda row: int(row["subject"])):
        of = [r for r in answers if r["subject"] == row["subject"] and r["left_out"] and r["captioner"] != JUDGE]
        said = "; ".join(f"{r['captioner']}: {', '.join(r['proposed']) or 'nothing'}" for r in of)
        plain, captioned = (f"{a:.0%} / {b:.0%}" for a, b in row["shares"])
        print(f"| {row['caption']} | {plain} | {captioned} | {said} |")


def _is_there(shares: Sequence[Sequence[float]]) -> bool:
    return any(with_lora - without >= IN_IT for with_lora, without in shares)


def _interval(hits: Sequence[bool]) -> tuple[float, float]:
    """Wilson's, which holds for few and for all (Wilson 1927)."""
    n, z = max(1, len(hits)), 1.96
    share = sum(hits) / n
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


if __name__ == "__main__":
    main()
