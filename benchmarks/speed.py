"""How fast is a LoRA beside the trainers that people use? Same checkpoint, picture, rank, steps, precision, threads.

    python benchmarks/speed.py --checkpoint SD15.safetensors --kohya SD_SCRIPTS --diffusers DIFFUSERS [--device cuda]
    python benchmarks/speed.py --checkpoint SD15.safetensors --kohya SD_SCRIPTS --edge 64 --steps 4 --rounds 1
    python benchmarks/speed.py --pocket

A folder is a checkout of kohya-ss/sd-scripts or huggingface/diffusers; `--peers-python` is a Python that has what their
scripts need. Each trainer is a process of its own and runs its own loop; ours and a peer take turns, one step each, and
wait while the other works, so that a busy machine hits both. Two full-size trainings lie in memory side by side;
`--apart` lets one end before the next begins. A peer's time counts from the start of its process, since it has no model
loaded; ours from the click, and from the start of its process, too. No turn's waiting is counted.

Rows go to `--rows` (JSON lines), tables to `--page`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import speed_page
import speed_peers as peers
from speed_turns import Recipe, Row, side_by_side

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""What torch's own kernels and its two libraries read as they start."""


def main() -> None:
    """Measure, tell, write the page."""
    given = _arguments()
    if given.avx2:
        os.environ.update(AVX2)
    if not given.pages_only:
        with tempfile.TemporaryDirectory(dir=given.work) as folder:
            asked = _asked(given, Path(folder))
            pairs = _pocket(asked) if given.pocket else _pairs(given, asked)
            _measure(given, asked, pairs)
    if given.page:
        before = given.page.read_text("utf-8") if given.page.exists() else "# Speed\n"
        given.page.write_text(speed_page.page(speed_page.rows(given.rows), before), "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="SD1.5 as one .safetensors; its weights may be random")
    parser.add_argument("--kohya", type=Path, help="a checkout of sd-scripts")
    parser.add_argument("--diffusers", type=Path, help="a checkout of diffusers")
    parser.add_argument("--no-sdpa", action="store_true", help="kohya without --sdpa, too")
    parser.add_argument("--peers-python", default=sys.executable, help="a Python with what the peers need")
    parser.add_argument("--pocket", action="store_true", help="ours alone: a whole LoRA on the pocket checkpoint")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--edge", type=int, default=512, help="of the picture, in pixels")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="of a training; the first two are not timed as steps")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each; who begins changes")
    parser.add_argument("--threads", type=int, default=0, help="of each; 0 is what torch takes by itself")
    parser.add_argument("--as-guest", action="store_true", help="ours keeps no freed memory, as in a host's process")
    parser.add_argument("--avx2", action="store_true", help="all keep to AVX2, as on processors without AVX-512")
    parser.add_argument("--apart", action="store_true", help="one training after the other: half of the memory")
    parser.add_argument("--work", type=Path, help="folder for temporary files (diffusers' copy needs 4 GB)")
    parser.add_argument("--rows", type=Path, default=Path("speed.jsonl"), help="JSON lines, added to")
    parser.add_argument("--page", type=Path, help="Markdown whose tables are made anew")
    parser.add_argument("--pages-only", action="store_true", help="from the rows that are there")
    given = parser.parse_args()
    if not (given.pocket or given.pages_only or given.checkpoint):
        parser.error("name a --checkpoint, or --pocket")
    return given


def _asked(given: argparse.Namespace, work: Path) -> peers.Asked:
    return peers.Asked(
        checkpoint=given.checkpoint,
        work=work,
        device=given.device,
        edge_px=given.edge,
        rank=given.rank,
        steps=given.steps,
        threads=given.threads,
        python=given.peers_python,
        keeps=not given.as_guest,
    )


def _pairs(given: argparse.Namespace, asked: peers.Asked) -> dict[str, list[Recipe]]:
    """Ours beside each peer that has a folder, or alone."""
    asked.checkpoint.read_bytes()  # so that the first one to load it is not the only one to wait for the disk
    peers.prepare(asked)
    others = []
    if given.kohya:
        others.append(peers.kohya(asked, given.kohya))
        others += [peers.kohya(asked, given.kohya, sdpa=False)] if given.no_sdpa else []
    if given.diffusers:
        others.append(peers.diffusers(asked, given.diffusers))
        peers.diffusers_folder(asked)
    return {other.name: [peers.ours(asked), other] for other in others} or {"alone": [peers.ours(asked)]}


def _pocket(asked: peers.Asked) -> dict[str, list[Recipe]]:
    """With nothing beside the training, and as a WebUI's tab does it."""
    tab = peers.pocket(asked)
    return {"bare": [peers.pocket(asked, **peers.PLAIN)], "tab": [replace(tab, name="as the tab does it")]}


def _measure(given: argparse.Namespace, asked: peers.Asked, pairs: dict[str, list[Recipe]]) -> None:
    run = time.strftime("%Y-%m-%dT%H:%M:%S")
    tell = _teller(given.rows, run)
    name = f"pocket-{given.device}" if given.pocket else f"{given.device}-{given.edge}"
    name += "-as-guest" * given.as_guest + "-avx2" * given.avx2
    command = shlex.join(["python", "benchmarks/speed.py", *_public(given)])
    commits = {k: _commit(getattr(given, k)) for k in ("kohya", "diffusers") if getattr(given, k)}
    about = {"command": command, "what": _what(given), "peers": commits}
    tell({"kind": "run", "name": name, **about})
    for number in range(given.rounds):
        folder = asked.work / f"round{number}"
        side_by_side([peers.floor(asked)], folder / "floor", tell)
        for pair, recipes in pairs.items():
            turn = recipes if number % 2 == 0 else recipes[::-1]
            groups = [[recipe] for recipe in turn] if given.apart else [turn]
            for group in groups:
                side_by_side(
                    group, folder / pair, lambda row, pair=pair, n=number: tell({"pair": pair, "round": n, **row})
                )  # type: ignore[misc]


def _teller(path: Path, run: str) -> Callable[[Row], None]:
    def tell(row: Row) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": run, **row}) + "\n")
        shown = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
        print(shown, file=sys.stderr, flush=True)

    return tell


def _what(given: argparse.Namespace) -> str:
    if given.pocket:
        return "the pocket checkpoint, 128 px, rank 16, 120 steps, batch 1"
    how = "one after the other" if given.apart else "in turns, one step each"
    precision = "fp16" if given.device == "cuda" else "float32"
    return (
        f"{given.edge} px, rank {given.rank}, {given.steps} steps, batch 1, UNet only, AdamW, {precision}, {how}"
        f"; {given.rounds} rounds"
    )


def _public(given: argparse.Namespace) -> list[str]:
    """The command without this machine's folders."""
    words: list[str] = []
    hidden = {"checkpoint": "SD15.safetensors", "kohya": "SD_SCRIPTS", "diffusers": "DIFFUSERS"}
    words += [word for name, shown in hidden.items() if getattr(given, name) for word in (f"--{name}", shown)]
    switches = ("pocket", "no_sdpa", "as_guest", "avx2", "apart")
    words += [f"--{name}".replace("_", "-") for name in switches if getattr(given, name)]
    plain: dict[str, Any] = {name: getattr(given, name) for name in ("device", "edge", "rank", "steps", "rounds")}
    plain |= {"threads": given.threads} if given.threads else {}
    shown_too = ("device", "rounds", "threads") if given.pocket else tuple(plain)
    return words + [word for name in shown_too if name in plain for word in (f"--{name}", str(plain[name]))]


def _commit(folder: Path) -> str:
    """Of a checkout, short; empty where git can't tell."""
    asked = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
