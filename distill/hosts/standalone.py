"""Our own host: an SD1.5 checkpoint from a single file or a diffusers folder, without any WebUI."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CheckpointError
from distill.host import Describer, Loaded, Models, Turn, Upscaler
from distill.hosts import loading
from distill.hosts.give_back import checksum, given_back
from distill.hosts.kinds import context_kind, require_sd15
from distill.hosts.schedule import Facts, facts_from_folder, facts_from_yaml, read_json
from distill.hosts.tensor_file import TensorFile, open_header
from distill.pocket import TOKENIZER

if TYPE_CHECKING:
    import torch


class Standalone:
    """A host that loads `checkpoint` itself at the first `borrow` and keeps it for the next one."""

    name = "stand-alone"

    def __init__(self, checkpoint: Path, *, lora_dir: Path, vae: Path | None = None, device: str = "auto") -> None:
        self.checkpoint, self.vae, self.lora_dir = Path(checkpoint), vae and Path(vae), Path(lora_dir)
        self.work_dir = self.lora_dir / ".distill"
        self._device = device
        self._turn = threading.Lock()
        self._lent = threading.Lock()
        self._models: Models | None = None
        self._sum = 0

    def check(self) -> None:
        """Raises CheckpointError naming what the checkpoint is unless it is SD1.5's; reads headers only."""
        if self.checkpoint.is_dir():
            _check_folder(self.checkpoint)
        else:
            require_sd15(open_header(self.checkpoint), own_vae=self.vae is not None)
        if self.vae is not None:
            _vae_file(self.vae)

    def facts(self) -> Facts:
        """How the checkpoint predicts and at what size; raises CheckpointError when a config can't be read."""
        if self.checkpoint.is_dir():
            return facts_from_folder(self.checkpoint)
        return facts_from_yaml(self.checkpoint.with_suffix(".yaml"))

    def loaded(self) -> Loaded:
        """The checkpoint's name, and what keeps it from being trained on; reads headers only."""
        name = self.checkpoint.name if self.checkpoint.is_dir() else self.checkpoint.stem
        try:
            self.check()
            return Loaded(name=name, native_px=self.facts().native_px)
        except CheckpointError as error:
            return Loaded(name=name, problem=str(error))

    @contextmanager
    def turn(self, job_id: str, label: str) -> Iterator[Turn]:
        """One at a time; there is no bar and no Interrupt but the caller's own."""
        with self._turn:
            yield _Alone()

    def loras_changed(self) -> None:
        """Nobody keeps a list."""

    def describers(self) -> tuple[Describer, ...]:
        """None: captioners of our own are files like any other."""
        return ()

    def upscalers(self) -> tuple[Upscaler, ...]:
        """None: a model file can be named."""
        return ()

    @contextmanager
    def borrow(self) -> Iterator[Models]:
        """The checkpoint, frozen and in eval mode; given back exactly on every way out.

        Raises CheckpointError when it can't be loaded or is lent already.
        """
        if not self._lent.acquire(blocking=False):
            raise CheckpointError(f"{self.checkpoint.name} is in use.", "Wait until the running job has ended.")
        try:
            models = self._loaded()
            try:
                with given_back(_modules(models)):
                    yield models
            finally:  # someone may have written to the weights: the next borrower gets them from the file again
                self._models = models if checksum(_modules(models)) == self._sum else None
        finally:
            self._lent.release()

    def _loaded(self) -> Models:
        if self._models is None:
            self.check()
            self._models = _load(self.checkpoint, self.vae, self.facts(), pick_device(self._device))
            self._sum = checksum(_modules(self._models))
        return self._models


class _Alone:
    def report(self, step: int, total: int, text: str) -> None:
        """Nowhere to show it."""

    def interrupted(self) -> bool:
        """Nobody but us."""
        return False


def _modules(models: Models) -> tuple[Any, Any, Any]:
    return models.unet, models.vae, models.text_encoder


def pick_device(wanted: str) -> torch.device:
    """The device named, or with "auto" the best there is; raises CheckpointError for one that is not there."""
    import torch

    mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise CheckpointError(f"{wanted!r} is not a device.", "Choose auto, cpu, cuda or mps.") from None
    if (device.type == "cuda" and not torch.cuda.is_available()) or (device.type == "mps" and not mps):
        raise CheckpointError(f"There is no {device.type} device here.", "Choose auto or cpu.")
    return device


def _load(path: Path, vae: Path | None, facts: Facts, device: torch.device) -> Models:
    import torch

    dtype = torch.float16 if device.type == "cuda" else torch.float32
    single = None if path.is_dir() else open_header(path)
    if single is None:
        unet = loading.folder_unet(path, device, dtype)
        text_encoder = loading.folder_text_encoder(path, device, dtype)
    else:
        unet = loading.ldm_unet(single, facts, device, dtype)
        text_encoder = loading.ldm_text_encoder(single, facts, device, dtype)
    return Models(
        unet=unet,
        vae=_load_vae(path, vae, single, facts, device, dtype),
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(path / "tokenizer" if single is None else TOKENIZER),
        alphas_cumprod=facts.alphas_cumprod(),
        prediction_type=facts.prediction_type,
        latent_scale=facts.latent_scale,
        native_px=facts.native_px,
        name=path.name if single is None else path.stem,
        sha256="" if single is None else _sha256(path),
        device=device,
        dtype=dtype,
    )


def _load_vae(
    path: Path, vae: Path | None, single: TensorFile | None, facts: Facts, device: torch.device, dtype: torch.dtype
) -> Any:
    if vae is not None:
        return loading.ldm_vae(_vae_file(vae), facts, device, dtype)
    if single is None:
        return loading.folder_vae(path, device, dtype)
    return loading.ldm_vae(single, facts, device, dtype)


def _vae_file(path: Path) -> TensorFile:
    file = open_header(path)
    if not any(name.endswith("decoder.conv_in.weight") for name in file.entries):
        raise CheckpointError(f"{path.name} has no VAE inside.", "Give a VAE for SD1.5 as .safetensors.")
    if any("decoder.up_blocks." in name for name in file.entries):
        raise CheckpointError(f"{path.name} is a VAE in diffusers' layout.", "Give a VAE file made for WebUIs.")
    return file


def _check_folder(folder: Path) -> None:
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(
            f"{folder.name} is a folder without model_index.json.", "Give a .safetensors file or a diffusers folder."
        )
    made_for = str(read_json(folder / "model_index.json").get("_class_name", ""))
    unet = read_json(folder / "unet" / "config.json") if (folder / "unet").is_dir() else {}
    kind = context_kind(unet.get("cross_attention_dim", 768))
    if kind or unet.get("in_channels") != 4 or not made_for.startswith("StableDiffusionPipeline"):
        raise CheckpointError(f"{folder.name} is {kind or 'made for ' + made_for}, not SD1.5.", "Give an SD1.5 folder.")


def clip_tokenizer(folder: Path = TOKENIZER) -> Any:
    """CLIPTokenizer from a folder; CLIP's own by default. Raises CheckpointError when it can't be read."""
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"The tokenizer in {folder} can't be read.", "Install Distill again.") from error
    tokenizer.model_max_length = 77  # what SD1.5 was trained with; a bare vocabulary doesn't say
    return tokenizer


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
