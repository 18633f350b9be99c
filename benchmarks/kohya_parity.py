"""Loss by loss beside kohya's own sd-scripts: same checkpoint, picture, captions and random numbers.

    python benchmarks/kohya_parity.py --kohya SD_SCRIPTS --checkpoint SD15.safetensors [--only plain LoCon ...]

Runs in an environment that has what sd-scripts need (its requirements.txt) and Distill. Distill trains first, and every
random number that it draws is written down; then kohya's own `create_network`, `process_batch`, optimizer and schedule
train on the same pictures, and get the same numbers wherever they ask torch for some. Only the batch is put together
here, since kohya's data loader draws in another order. Prints one line for each recipe; raises at none.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from kohya import Drawn, Kohya
from PIL import Image, ImageDraw

from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.lora_file import kohya_name
from distill.training.adapter import attached
from distill.training.encode import Source, encode
from distill.training.loop import train

CAPTION = "fip zor woman, red hair, green eyes, white shirt, smile, in front of a brick wall"
BASE = {"network_dim": 16, "network_alpha": 8.0, "unet_lr": 1e-3, "text_encoder_lr": 5e-4, "lr_warmup": 0.05}
BASE |= {"batch_size": 1, "loraplus_lr_ratio": 1.0, "lr_scheduler": "cosine", "min_snr_gamma": 0.0}
ARTICLE = ("1,0,0,0,0,0,0,1,1,1,1,1", "0", "0,1,1,1,1,1,0,0,0,0,1,1")

RECIPES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "plain": ({}, []),
    "text encoder": ({"train_text_encoder": True}, ["train_te"]),
    "noise offset": ({"noise_offset": 0.1}, ["--noise_offset=0.1"]),
    "multires noise": (
        {"multires_noise_iterations": 6},
        ["--multires_noise_iterations=6", "--multires_noise_discount=0.3"],
    ),
    "input perturbation": ({"ip_noise_gamma": 0.1}, ["--ip_noise_gamma=0.1"]),
    "min-SNR": ({"min_snr_gamma": 5.0}, ["--min_snr_gamma=5"]),
    "debiased": ({"debiased_estimation": True}, ["--debiased_estimation_loss"]),
    "flip": ({"flip": True}, []),
    "clip skip 2": ({"clip_skip": 2}, ["--clip_skip=2"]),
    "225 tokens": ({"max_token_length": 225}, ["--max_token_length=225"]),
    "block weights": ({"block_weights": "OUTD (article)"}, ["blocks"]),
    "LoCon": ({"network_type": "locon", "conv_dim": 8, "conv_alpha": 4.0}, ["conv"]),
    "masked loss": ({}, ["mask"]),
    "max norm": ({"scale_weight_norms": 0.02}, ["norm"]),
}
"""Ours, and kohya's words for it; those without dashes are told to its network or batch."""


def picture(edge_px: int) -> Image.Image:
    """Something with edges, colours and shades, not the same mirrored."""
    shades = Image.merge("RGB", [Image.linear_gradient("L").rotate(a).resize((edge_px, edge_px)) for a in (0, 90, 200)])
    draw = ImageDraw.Draw(shades)
    draw.ellipse([edge_px // 8, edge_px // 4, edge_px // 2, edge_px // 2], fill=(220, 40, 60))
    return shades


def mask(edge_px: int) -> Image.Image:
    """The left half in full, a quarter of the rest."""
    levels = Image.new("L", (edge_px, edge_px), 64)
    levels.paste(255, (0, 0, edge_px // 2, edge_px))
    return levels


def ours(
    models: Any, options: Options, image: Image.Image, with_mask: bool
) -> tuple[list[float], dict[str, Any], list[Drawn]]:
    """Losses, the first weights, and the random numbers of each step."""
    generator = torch.Generator().manual_seed(0)
    source = Source(image, [CAPTION], mask=mask(image.width) if with_mask else None)
    te = options.train.train_text_encoder
    data = encode(models, [source], options.caption, flip=options.train.flip, train_text_encoder=te)
    parts = {"unet": models.unet, **({"text_encoder": models.text_encoder} if te else {})}
    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(m, p, options.network, generator)) for p, m in parts.items()]
        first = {kohya_name(a.part, path): tensors for a in adapters for path, tensors in a.weights().items()}
        losses, drawn, steps = [], [], Drawn()
        with steps.written_down():
            for step in train(models, data, adapters, options, generator=generator):
                losses.append(step.loss)
                drawn.append(Drawn(steps))
                steps.clear()
    return losses, first, drawn


def theirs(
    kohya: Any, flags: list[str], options: Options, image: Image.Image, first: dict[str, Any], drawn: list[Drawn]
) -> list[float]:
    """kohya's losses."""
    args = kohya.args(flags, options)
    trainer, accelerator = kohya.train_network.NetworkTrainer(), kohya.accelerator
    text_encoder, vae, unet = kohya.load()
    extra: dict[str, Any] = {}
    if "conv" in flags:
        extra = {"conv_dim": options.network.conv_dim, "conv_alpha": options.network.conv_alpha}
    if "blocks" in flags:
        extra = dict(zip(("down_lr_weight", "mid_lr_weight", "up_lr_weight"), ARTICLE, strict=True))
    network = kohya.lora.create_network(
        1.0, options.network.network_dim, options.network.network_alpha, vae, text_encoder, unet, **extra
    )
    train_te = "train_te" in flags
    network.apply_to(text_encoder, unet, train_te, True)
    begin(network, first)
    groups = network.prepare_optimizer_params(args.text_encoder_lr, args.unet_lr, args.learning_rate)
    groups = groups[0] if isinstance(groups, tuple) else groups
    optimizer = kohya.train_util.get_optimizer(args, groups)[2]
    schedule = kohya.train_util.get_scheduler_fix(args, optimizer, 1)
    noise_scheduler = trainer.get_noise_scheduler(args, accelerator.device)
    tokens, encoding = kohya.strategies(options)
    network.train()
    losses = []
    for numbers in drawn:
        batch = kohya.batch(vae, image, numbers, tokens, CAPTION, mask(image.width) if "mask" in flags else None)
        with numbers.given_again():
            loss = trainer.process_batch(
                batch, [text_encoder], unet, network, vae, noise_scheduler, torch.float32, torch.float32, accelerator,
                args, encoding, tokens, is_train=True, train_text_encoder=train_te, train_unet=True,
            )  # fmt: skip
        assert not numbers, f"left over: {[kind for kind, _ in numbers]}"
        accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.get_trainable_params(), args.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if "norm" in flags:
            network.apply_max_norm_regularization(options.network.scale_weight_norms, accelerator.device)
        losses.append(loss.item())
    return losses


def begin(network: Any, first: dict[str, Any]) -> None:
    """The same first weights as ours; both have the same layers, or it is said which not."""
    modules = {lora.lora_name: lora for lora in [*network.unet_loras, *network.text_encoder_loras]}
    used = {name: lora for name, lora in modules.items() if lora.lora_name in first or lora in network.unet_loras}
    assert set(used) == set(first), f"other layers: {sorted(set(used) ^ set(first))[:4]}"
    with torch.no_grad():
        for name, lora in used.items():
            lora.lora_down.weight.copy_(first[name]["lora_down.weight"].reshape(lora.lora_down.weight.shape))
            assert float(lora.alpha) == float(first[name]["alpha"])


def main() -> None:
    """Every recipe, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kohya", type=Path, required=True, help="a checkout of sd-scripts")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="SD1.5 as one .safetensors; its weights may be random"
    )
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES), help="these recipes")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--edge", type=int, default=128, help="of the picture, in pixels")
    given = parser.parse_args()
    kohya = Kohya(given.kohya.absolute(), given.checkpoint.absolute())
    host = Standalone(given.checkpoint, lora_dir=Path("."), device="cpu")
    image = picture(given.edge)
    print(f"{'recipe':20} {'first':>8} {'last':>8}  largest relative difference of {given.steps} losses", flush=True)
    with host.borrow() as models:
        for name in given.only:
            changes, flags = RECIPES[name]
            options = Options.from_flat({**BASE, "repeats": given.steps, "epochs": 1, **changes})
            losses, first, drawn = ours(models, options, image, "mask" in flags)
            expected = theirs(kohya, flags, options, image, first, drawn)
            worst = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
            print(f"{name:20} {losses[0]:8.4f} {losses[-1]:8.4f}  {worst:.1e}", flush=True)


if __name__ == "__main__":
    main()
