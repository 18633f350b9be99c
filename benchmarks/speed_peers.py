"""How each trainer is told to do the same: checkpoint, picture, caption, rank, steps, precision, threads."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speed_turns import Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from distill.pocket import CHECKPOINT, PORTRAIT, TOKENIZER

TRIGGER, TAGS = "zor fip", ["woman", "red hair", "green eyes", "white shirt", "smile", "in front of a brick wall"]
CAPTION = f"{TRIGGER} {', '.join(TAGS)}"
RATE = 1e-3
OURS = "ours"
PLAIN = {"keep_epochs": False, "sample_every": 0, "preview": False, "meters": False, "keep_state": False}
"""No trainer makes pictures, measures or keeps states: those are asked of none of the others either."""

ONE_DRAW = {"batch_size": 1, "loraplus_lr_ratio": 1.0, "min_snr_gamma": 0.0}
"""A step as the others make it."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What all are asked to do."""

    checkpoint: Path
    work: Path
    device: str
    edge_px: int
    rank: int
    steps: int
    threads: int  # 0: as many as torch takes by itself
    python: str = sys.executable  # of the peers
    keeps: bool = True  # ours keeps what it frees, as its command does

    @property
    def precision(self) -> str:
        """fp16 models where there is a GPU, as WebUIs have them."""
        return "fp16" if self.device == "cuda" else "no"

    @property
    def environment(self) -> dict[str, str]:
        """Threads, a device, and no network."""
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if self.threads}
        cpu = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "1"} if self.device == "cpu" else {}
        return {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **threads, **cpu}


def prepare(asked: Asked) -> None:
    """The picture, alone and with its caption in kohya's layout, and the tokenizer where kohya looks for it."""
    from kohya_parity import picture

    image = picture(asked.edge_px)
    dreambooth = asked.work / "kohya_data" / f"{asked.steps}_zor"
    for folder in (dreambooth, asked.work / "picture"):
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / "picture.png")
    (dreambooth / "picture.txt").write_text(CAPTION, "utf-8")
    shutil.copytree(TOKENIZER, asked.work / "tokenizers" / "openai_clip-vit-large-patch14", dirs_exist_ok=True)


def ours(asked: Asked, **options: Any) -> Recipe:
    """Distill with nothing beside the training."""
    recipe = {"repeats": asked.steps, "epochs": 1, "unet_lr": RATE, "resolution": asked.edge_px}
    recipe |= {"network_dim": asked.rank, "network_alpha": float(asked.rank), "trigger": TRIGGER}
    recipe |= {**ONE_DRAW, "lr_scheduler": "cosine", "lr_warmup": 0.0, **PLAIN, **options}
    about = {"checkpoint": str(asked.checkpoint.absolute()), "picture": str(asked.work / "picture" / "picture.png")}
    return Recipe(
        OURS,
        {"what": "ours", "device": asked.device, "keeps": asked.keeps, "tags": TAGS, "options": recipe, **about},
        sys.executable,
        asked.environment,
    )


def kohya(asked: Asked, folder: Path, *, sdpa: bool = True) -> Recipe:
    """sd-scripts' train_network.py with its quickest flags that leave the result as it is."""
    arguments = {
        "pretrained_model_name_or_path": asked.checkpoint.absolute(), "train_data_dir": asked.work / "kohya_data",
        "output_dir": "{out}", "output_name": "lora", "save_model_as": "safetensors", "save_precision": "fp16",
        "resolution": f"{asked.edge_px},{asked.edge_px}", "train_batch_size": 1, "max_train_steps": asked.steps,
        "network_module": "networks.lora", "network_dim": asked.rank, "network_alpha": asked.rank,
        "learning_rate": RATE, "lr_scheduler": "cosine", "optimizer_type": "AdamW", "seed": 0,
        "mixed_precision": asked.precision, "max_data_loader_n_workers": 0, "caption_extension": ".txt",
        "tokenizer_cache_dir": asked.work / "tokenizers",
    }  # fmt: skip
    flags = ["--network_train_unet_only", "--cache_latents", *(["--sdpa"] if sdpa else [])]
    name = "kohya" if sdpa else "kohya without --sdpa"
    return _script(name, asked, folder / "train_network.py", [], [*_words(arguments), *flags])


def diffusers(asked: Asked, folder: Path) -> Recipe:
    """train_dreambooth_lora.py; it has no way to keep latents, and its layers are attention's only."""
    arguments = {
        "pretrained_model_name_or_path": asked.work / "folder", "instance_data_dir": asked.work / "picture",
        "instance_prompt": CAPTION, "output_dir": "{out}", "resolution": asked.edge_px, "train_batch_size": 1,
        "max_train_steps": asked.steps, "rank": asked.rank, "learning_rate": RATE, "lr_scheduler": "cosine",
        "lr_warmup_steps": 0, "seed": 0, "mixed_precision": asked.precision, "checkpointing_steps": 10**6,
    }  # fmt: skip
    script = folder / "examples" / "dreambooth" / "train_dreambooth_lora.py"
    flags = ["--pre_compute_text_embeddings"]
    return _script("diffusers", asked, script, [folder / "src"], [*_words(arguments), *flags])


def diffusers_folder(asked: Asked) -> None:
    """The checkpoint as a diffusers folder, for the script that takes no other; its time is not counted."""
    from diffusers import DDPMScheduler

    from distill.hosts.standalone import Standalone

    folder = asked.work / "folder"
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    with Standalone(asked.checkpoint, lora_dir=asked.work, device="cpu").borrow() as models:
        for part in (*parts, "tokenizer"):
            getattr(models, part).save_pretrained(folder / part)
    DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False}
    index |= {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", parts["unet"]]}
    index |= {"vae": ["diffusers", parts["vae"]], "text_encoder": ["transformers", parts["text_encoder"]]}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"]}
    index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")


def floor(asked: Asked) -> Recipe:
    """What the machine can do, asked of torch in a process of its own."""
    return Recipe("floor", {"what": "floor", "device": asked.device}, sys.executable, asked.environment)


def pocket(asked: Asked, **options: Any) -> Recipe:
    """120 steps of one draw on the pocket checkpoint: with nothing beside the training, or as `options` say."""
    recipe = {"repeats": 20, "epochs": 6, "trigger": TRIGGER, **ONE_DRAW, **options}
    about = {"checkpoint": str(CHECKPOINT), "picture": str(PORTRAIT), "tags": TAGS, "options": recipe}
    given = {"what": "ours", "device": asked.device, "keeps": asked.keeps, **about}
    return Recipe(OURS, given, sys.executable, asked.environment)


def _script(name: str, asked: Asked, path: Path, paths: list[Path], arguments: list[str]) -> Recipe:
    if not path.is_file():
        raise SystemExit(f"There is no {path}.")
    about = {"script": str(path.absolute()), "paths": [str(p.absolute()) for p in paths], "arguments": arguments}
    return Recipe(name, {"what": "script", "device": asked.device, **about}, asked.python, asked.environment)


def _words(arguments: dict[str, Any]) -> list[str]:
    return [f"--{name}={os.fspath(value) if isinstance(value, Path) else value}" for name, value in arguments.items()]
