"""`python -m distill.pocket.make`: makes the pocket checkpoint and its judge, stage by stage.

Every stage saves its state in the work folder each minute and goes on from there when it is started again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from distill.pocket import CHECKPOINT
from distill.pocket import judge as judge_file
from distill.pocket.make import export, judge_training, networks, text, tokenizer, unet, vae
from distill.pocket.make.pictures import vae_batch
from distill.pocket.make.progress import load_state


def make_vae(work: Path) -> None:
    """Train the VAE: 20 minutes on two free cores."""
    log = Log("vae")
    for step, mse, seconds in vae.train_vae(work / "vae.pt", vae.VaeOptions()):
        log.tell(step, f"mse {mse:.4f}, {seconds:.2f} s/step")


def make_judge(work: Path) -> None:
    """Train the judge: 8 minutes on one core."""
    log = Log("judge")
    options = judge_training.JudgeOptions()
    for step, loss in judge_training.train_judge(work / "judge.pt", vae.load_averaged(work / "vae.pt"), options):
        log.tell(step, f"loss {loss:.4f}")
    judge_training.write_judge(work / "judge.pt", judge_file.WEIGHTS)


def make_text(work: Path) -> None:
    """Pretrain the text encoder: 3 minutes."""
    log = Log("text")
    for step, loss, tags, whole in text.train_text(work / "text.pt", text.TextOptions()):
        log.tell(step, f"loss {loss:.4f}, right at tags {tags:.4f}, at the end {whole:.4f}")


def make_unet(work: Path) -> None:
    """Cache latents, then train the UNet: an hour."""
    log = Log("unet")
    options = unet.UnetOptions()
    unet.cache_latents(work / "latents.pt", scaled_vae(work), options)
    cached = load_state(work / "latents.pt") or {}
    for step, loss in unet.train_unet(work / "unet.pt", cached, text.load_text_encoder(work / "text.pt"), options):
        log.tell(step, f"loss {loss:.4f}")


def make_checkpoint(work: Path) -> None:
    """Write the checkpoint from what is trained so far."""
    parts = unet.load_averaged(work / "unet.pt"), scaled_vae(work), text.load_text_encoder(work / "text.pt")
    export.write_checkpoint(CHECKPOINT, *parts)


def scaled_vae(work: Path) -> vae.Vae:
    """The trained VAE with its latents scaled; the same each time, as the pictures it is scaled on are."""
    import random

    trained = vae.load_averaged(work / "vae.pt")
    vae.scale_latents(trained, vae_batch(random.Random(0), 256))
    return trained


class Log:
    """Prints a stage's state every so many seconds."""

    def __init__(self, stage: str, every_s: float = 20.0) -> None:
        self.stage, self.every_s, self.last = stage, every_s, -every_s

    def tell(self, step: int, line: str) -> None:
        """Print, unless that was done a moment ago."""
        if time.monotonic() - self.last >= self.every_s:
            self.last = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} {self.stage} {step + 1}: {line}", flush=True)


STAGES: dict[str, Callable[[Path], None]] = {
    "vae": make_vae,
    "judge": make_judge,
    "text": make_text,
    "unet": make_unet,
    "export": make_checkpoint,
}


def main() -> None:
    """Run the stages that are asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m distill.pocket.make", description=__doc__)
    parser.add_argument("stages", nargs="*", default=list(STAGES), help=f"some of: {', '.join(STAGES)}")
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="folder for states and cached latents")
    parser.add_argument("--bpe", type=Path, help="bpe_simple_vocab_16e6.txt.gz, to write the tokenizer anew")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for torch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.bpe:
        tokenizer.write_tokenizer(options.bpe, networks.TOKENIZER_FOLDER)
        networks.write_text_config()
    unknown = [stage for stage in options.stages if stage not in STAGES]
    if unknown:
        parser.error(f"no such stage: {', '.join(unknown)}")
    for stage in options.stages:
        STAGES[stage](options.work)


if __name__ == "__main__":
    main()
