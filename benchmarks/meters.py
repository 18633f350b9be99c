"""What the meters cost: their share of a training's CPU time, on the recipe as it is by default.

    python benchmarks/meters.py --subjects 3

Counted are the passes before the first step and each reading, against the steps; on one thread, in CPU seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity_bank as bank
import torch

from distill import watching
from distill.events import Measured
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, world
from distill.training.loop import Step
from distill.training.meters import Meters

QUIET = {"preview": False, "sample_every": 0, "keep_state": False, "keep_epochs": False}


class Clocked(Meters):
    """Meters that know what making them took."""

    seconds = 0.0

    def __init__(self, *given: Any, **named: Any) -> None:
        began = time.process_time()
        super().__init__(*given, **named)
        type(self).seconds = time.process_time() - began


def main() -> None:
    """Train, and print one line a subject."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    watching.Meters = Clocked  # type: ignore[misc]
    shares = [_share(number, arguments.checkpoint) for number in range(arguments.subjects)]
    print(f"median {100 * statistics.median(shares):.1f} %")


def _share(number: int, checkpoint: Path) -> float:
    subject, spent, last = bank.subject(number, bank.TUNING), {Step: 0.0, Measured: 0.0}, time.process_time()
    readings = 0
    with tempfile.TemporaryDirectory() as folder:
        host = Standalone(checkpoint, lora_dir=Path(folder))
        for event in distill(host, subject.picture, world.tags(subject.attributes), Options.from_flat(QUIET)):
            now = time.process_time()
            if type(event) in spent and not (isinstance(event, Step) and event.index == 1):
                spent[type(event)] += now - last
            readings += isinstance(event, Measured)
            last = now
    meters = spent[Measured] + Clocked.seconds
    share = meters / spent[Step]
    print(f"{readings} readings {meters:.2f} s, steps {spent[Step]:.2f} s: {100 * share:.1f} %", flush=True)
    return share


if __name__ == "__main__":
    main()
