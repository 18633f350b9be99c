"""What the meters cost: their share of a training's CPU time, on the recipe as it is by default.

    python benchmarks/meters.py --subjects 3

Counted is each reading, the first with the passes without the LoRA, against the steps; one thread, in CPU seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fidelity_bank as bank
import torch

from distill.events import Measured
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, world
from distill.training.loop import Step

QUIET = {"preview": False, "sample_every": 0, "keep_state": False, "keep_epochs": False}


def main() -> None:
    """Train, and print one line a subject."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
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
    share = spent[Measured] / spent[Step]
    print(f"{readings} readings {spent[Measured]:.2f} s, steps {spent[Step]:.2f} s: {100 * share:.1f} %", flush=True)
    return share


if __name__ == "__main__":
    main()
