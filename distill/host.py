"""The seam towards whoever owns the model: a WebUI, or our own loader. Types only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Models:
    """A borrowed SD1.5 checkpoint, seen through diffusers' and transformers' classes.

    The parameters may be the host's own memory: never write to them, never fuse into them.
    """

    unet: Any  # diffusers.UNet2DConditionModel: (B, 4, h, w), (B,), (B, 77, C) -> (B, 4, h, w)
    vae: Any  # diffusers.AutoencoderKL: (B, 3, 8h, 8w) in [-1, 1] <-> (B, 4, h, w)
    text_encoder: Any  # transformers.CLIPTextModel: (B, 77) -> (B, 77, C)
    tokenizer: Any  # transformers.CLIPTokenizer
    alphas_cumprod: torch.Tensor  # (1000,) float32 on the CPU
    prediction_type: str  # "epsilon" or "v_prediction"
    latent_scale: float  # 0.18215: latents as the UNet sees them = latent_scale * the VAE's
    native_px: int  # the edge the checkpoint was trained at: 512 for SD1.5
    name: str  # file name without its ending
    sha256: str  # of the checkpoint file; "" when the host does not know it
    device: torch.device
    dtype: torch.dtype  # to compute in; float32 on a CPU


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a host would lend now, told without loading anything."""

    name: str  # of the checkpoint; "" when none is chosen
    problem: str = ""  # why nothing can be trained on it, one sentence with a way out; "" when it can
    native_px: int = 512
    at_hand: bool = True  # nothing has to be loaded first


@dataclass(frozen=True, kw_only=True)
class Describer:
    """A captioner that the host brings along; to be called in our turn."""

    name: str  # "webui-blip", "webui-deepbooru"
    label: str
    describe: Callable[[Image.Image], str]  # a sentence or a comma list; raises CaptionError
    problem: str = ""  # why it can't be used at once, one sentence with a way out; "" when it can


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """An upscaler that the host brings along; to be called in our turn, while no model is borrowed."""

    name: str  # as the host lists it
    label: str  # the name, and what its first use costs
    upscale: Callable[[Image.Image, float], Image.Image]  # a picture and how many times larger; raises PictureError


class Turn(Protocol):
    """Our place at the host's own queue: while it lasts, the host does nothing else on the device."""

    def report(self, step: int, total: int, text: str) -> None:
        """Show progress where the host shows its own."""
        ...

    def interrupted(self) -> bool:
        """Whether the person pressed the host's own Interrupt."""
        ...


class Host(Protocol):
    """Who lends the model, where its LoRAs live and who else wants the device."""

    name: str  # for messages: "A1111", "Forge", "stand-alone"
    lora_dir: Path  # where new LoRA files go
    work_dir: Path  # ours: journals and pictures of jobs

    def loaded(self) -> Loaded:
        """What `borrow` would lend. Cheap, never raises."""
        ...

    def turn(self, job_id: str, label: str) -> AbstractContextManager[Turn]:
        """Wait for the host's own lock and hold it; `job_id` names the task in the host's progress.

        Enter and leave it in one thread, and never inside a generator that may be left hanging.
        """
        ...

    def borrow(self) -> AbstractContextManager[Models]:
        """The loaded checkpoint with pristine weights; given back bit for bit on every way out.

        Ask for your turn first. Raises CheckpointError when there is none or it is not an SD1.5 text-to-image model.
        """
        ...

    def loras_changed(self) -> None:
        """LoRA files came or went: the host's list should show it. Never raises."""
        ...

    def describers(self) -> tuple[Describer, ...]:
        """The captioners that it brings along. Cheap, never raises."""
        ...

    def upscalers(self) -> tuple[Upscaler, ...]:
        """The upscalers that it brings along. Cheap, never raises."""
        ...
