"""The fidelity bench to look at: one subject, a row for each recipe, a column for each kind of prompt.

python benchmarks/fidelity_sheet.py --recipes base "One Image" ours --subject 3 --to benchmarks/fidelity.png
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity
import fidelity_bank as bank
from fidelity_sampling import merged, pictures, quick
from PIL import Image, ImageDraw

from distill.hosts.standalone import Standalone
from distill.pocket import CHECKPOINT

EDGE, HEAD, LEFT, GAP = 128, 18, 120, 4
INK, PAPER = "#222222", "#ffffff"


def main() -> None:
    """Train each recipe on the subject and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=["base", "One Image", "ours"])
    parser.add_argument("--subject", type=int, default=0)
    parser.add_argument("--total", type=int, default=120)
    parser.add_argument("--weight", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("fidelity-work"))
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    subject = bank.subject(arguments.subject)
    asked = {prompt.kind: prompt for prompt in bank.prompts(subject)}
    made = {recipe: _row(recipe, subject, list(asked.values()), arguments) for recipe in arguments.recipes}
    _sheet(subject, list(asked.values()), made).save(arguments.to)


def _row(
    recipe: str, subject: bank.Subject, asked: list[bank.Prompt], arguments: argparse.Namespace
) -> list[Image.Image]:
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(CHECKPOINT, lora_dir=Path(folder))
        host.work_dir = arguments.work
        if recipe == "base":
            with host.borrow() as models:
                return pictures(quick(models), [", ".join(p.tags) for p in asked], [arguments.seed])
        options = fidelity.options_of(recipe, subject, host, arguments.total)
        saved, _, trigger = fidelity.trained(host, subject, options)
        with host.borrow() as models:
            drawing = quick(models)
            with merged(drawing, saved[-1].path, arguments.weight, models):
                texts = [fidelity.text_of(prompt, trigger) for prompt in asked]
                return pictures(drawing, texts, [arguments.seed], options.caption.clip_skip)


def _sheet(subject: bank.Subject, asked: list[bank.Prompt], made: dict[str, list[Image.Image]]) -> Image.Image:
    width = LEFT + (EDGE + GAP) * (len(asked) + 1)
    sheet = Image.new("RGB", (width, HEAD * 2 + (EDGE + GAP) * len(made)), PAPER)
    draw = ImageDraw.Draw(sheet)
    source = subject.picture.resize((EDGE, EDGE), Image.Resampling.LANCZOS)
    draw.text((LEFT, 2), "the picture", INK)
    draw.text((LEFT, HEAD), f"({subject.attributes.novel})", INK)
    for column, prompt in enumerate(asked, start=1):
        x = LEFT + column * (EDGE + GAP)
        draw.text((x, 2), prompt.kind, INK)
        draw.text(
            (x, HEAD), ", ".join(f"{v} {n}" if v != "none" else f"no {n}" for n, v in prompt.changed.items())[:21], INK
        )
    for place, (recipe, images) in enumerate(made.items()):
        y = 2 * HEAD + place * (EDGE + GAP)
        draw.text((2, y + EDGE // 2), recipe, INK)
        for column, image in enumerate([source, *images]):
            sheet.paste(image, (LEFT + column * (EDGE + GAP), y))
    return sheet


if __name__ == "__main__":
    main()
