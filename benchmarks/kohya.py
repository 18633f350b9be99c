"""kohya's sd-scripts in a folder that the user names, driven by the same random numbers as Distill."""

from __future__ import annotations

import argparse
import importlib.machinery
import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from distill.options import Options
from distill.pocket import TOKENIZER


class Drawn(list[tuple[str, torch.Tensor]]):
    """Random numbers in the order in which they were drawn, by what drew them."""

    @contextmanager
    def written_down(self) -> Iterator[None]:
        """Note what torch draws from a generator."""

        def noting(kind: str, draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def noted(*args: Any, **kwargs: Any) -> torch.Tensor:
                value = draw(*args, **kwargs)
                if kwargs.get("generator") is not None:
                    self.append((kind, value.clone()))
                return value

            return noted

        with patched({(torch, kind): noting(kind, getattr(torch, kind)) for kind in ("randn", "rand", "randint")}):
            yield

    @contextmanager
    def given_again(self) -> Iterator[None]:
        """Hand them out to whoever asks torch or random."""

        def handing(kind: str, like: bool = False) -> Callable[..., torch.Tensor]:
            def handed(*args: Any, **kwargs: Any) -> torch.Tensor:
                was, value = self.pop(0)
                assert was == kind, f"kohya asks for {kind}, Distill drew {was}"
                assert not like or value.shape == args[0].shape
                return value

            return handed

        places = {(torch, "randn_like"): handing("randn", True), (torch, "randn"): handing("randn")}
        places |= {(torch, "rand"): handing("rand"), (torch, "randint"): handing("randint")}
        with patched({**places, (random, "random"): lambda: float(handing("rand")())}):
            yield


@contextmanager
def patched(places: dict[tuple[Any, str], Any]) -> Iterator[None]:
    """Other functions for the length of a with block."""
    before = {(owner, name): getattr(owner, name) for owner, name in places}
    try:
        for (owner, name), value in places.items():
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name), value in before.items():
            setattr(owner, name, value)


class Kohya:
    """sd-scripts in a folder, imported."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        import diffusers  # noqa: F401 - before a stand-in, so that it does not take that for the real one
        import transformers  # noqa: F401

        sys.path.insert(0, str(folder))
        try:
            import torchvision  # noqa: F401
        except Exception:  # noqa: BLE001 - a build for another torch fails in many ways; only imported, never used here
            _stand_in("torchvision")
        import accelerate
        import train_network
        from library import model_util, strategy_sd, train_util
        from networks import lora

        self.train_network, self.train_util, self.lora, self.strategy = train_network, train_util, lora, strategy_sd
        self._model_util, self._checkpoint = model_util, checkpoint
        self.accelerator = accelerate.Accelerator(cpu=True, mixed_precision="no")

    def load(self) -> tuple[Any, Any, Any]:
        """Its own text encoder, VAE and UNet classes with the checkpoint's weights, frozen."""
        models = self._model_util.load_models_from_stable_diffusion_checkpoint(False, str(self._checkpoint), "cpu")
        for model in models:
            model.requires_grad_(False).eval()
        text_encoder, vae, unet = models
        return text_encoder, vae, unet

    def args(self, flags: list[str], options: Options) -> argparse.Namespace:
        """Of its own parser."""
        recipe = options.train
        words = [
            f"--learning_rate={recipe.unet_lr}", f"--unet_lr={recipe.unet_lr}",
            f"--text_encoder_lr={recipe.text_encoder_lr}",
            "--optimizer_type=AdamW", "--optimizer_args", f"weight_decay={recipe.weight_decay}",
            f"--lr_scheduler={recipe.lr_scheduler}", f"--lr_warmup_steps={recipe.lr_warmup}",
            f"--max_train_steps={recipe.steps}", f"--max_grad_norm={recipe.max_grad_norm}",
            "--network_module=networks.lora",
        ]  # fmt: skip
        args: argparse.Namespace = self.train_network.setup_parser().parse_args(
            [*words, *(flag for flag in flags if flag.startswith("--"))]
        )
        args.text_encoder_lr = recipe.text_encoder_lr
        args.masked_loss = "mask" in flags
        return args

    def strategies(self, options: Options) -> tuple[Any, Any]:
        """Its tokenizing and encoding, with the tokenizer that lies beside Distill instead of one to be fetched."""
        from transformers import CLIPTokenizer

        tokens = self.strategy.SdTokenizeStrategy.__new__(self.strategy.SdTokenizeStrategy)
        tokens.tokenizer = CLIPTokenizer.from_pretrained(str(TOKENIZER))
        tokens.tokenizer.model_max_length = 77
        tokens.max_length = options.caption.max_token_length + 2
        skip = options.caption.clip_skip
        return tokens, self.strategy.SdTextEncodingStrategy(None if skip == 1 else skip)

    @torch.no_grad()
    def batch(
        self, vae: Any, image: Image.Image, numbers: Drawn, tokens: Any, caption: str, mask: Image.Image | None
    ) -> dict[str, Any]:
        """As its data loader would give it: latents of the picture, mirrored where Distill drew the mirrored one."""
        index, posterior, _ = (numbers.pop(0)[1] for _ in range(3))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        alpha = torch.from_numpy(np.array(mask)).float()[None] / 255 if mask else None
        if int(index[0]):
            pixels = pixels.flip(-1)
            alpha = None if alpha is None else alpha.flip(-1)
        found = vae.encode(pixels).latent_dist
        return {
            "latents": found.mean + found.std * posterior,
            "input_ids_list": tokens.tokenize([caption]),
            "captions": [caption],
            "loss_weights": torch.ones(1),
            "alpha_masks": alpha,
        }


def _stand_in(name: str) -> None:
    """An empty package of that name, whatever is asked of it."""

    class Anything(types.ModuleType):
        __path__: list[str] = []  # noqa: RUF012

        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return lambda *args, **kwargs: None

    for part in (name, f"{name}.transforms", f"{name}.transforms.functional", f"{name}.utils"):
        sys.modules[part] = Anything(part)
        sys.modules[part].__spec__ = importlib.machinery.ModuleSpec(part, None)
    sys.modules[name].transforms = sys.modules[f"{name}.transforms"]  # type: ignore[attr-defined]
