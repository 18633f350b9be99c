"""A WebUI's loaded model seen through diffusers' and transformers' classes, in the same memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CheckpointError
from distill.host import Models
from distill.hosts import loading
from distill.hosts.give_back import checksum_of
from distill.hosts.kinds import UNET, kind_of_shapes, require_sd15
from distill.hosts.schedule import Facts
from distill.hosts.standalone import clip_tokenizer
from distill.hosts.tensor_file import open_header

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

log = logging.getLogger(__name__)

CHOOSE = "Choose an SD1.5 checkpoint at the top left."


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a WebUI has loaded, with pristine weights, and what the tensors don't tell."""

    unet: Any  # a module with LDM's names, "input_blocks.0.0.weight"
    vae: Any  # the chosen VAE, with LDM's names
    text_encoder: Any  # a module with CLIP's names, its token embedding possibly wrapped
    facts: Facts
    alphas_cumprod: torch.Tensor  # (1000,)
    device: torch.device  # to compute on; the modules may lie elsewhere
    dtype: torch.dtype  # the host computes in
    path: Path  # of the checkpoint file
    sha256: str  # "" when the host does not know it


@contextmanager
def lent(parts: Parts, reload: Callable[[], None]) -> Iterator[Models]:
    """The parts as Models; afterwards the view holds none of their memory, whoever still has it in hand.

    `reload` makes the host read the checkpoint from its file again, should someone have written to the weights.
    """
    unet, vae, text = (_aliases(module) for module in (parts.unet, parts.vae, parts.text_encoder))
    _require_sd15(unet, text, parts)
    # The view's own modules are replaced while training; these aliases always show the host's memory.
    shared = [*unet.values(), *vae.values(), *text.values()]
    before = checksum_of(shared)
    models = _models(unet, vae, text, parts)
    try:
        yield models
    finally:
        for module in (models.unet, models.vae, models.text_encoder):
            module.to("meta")  # a traceback may keep the view alive, but then it keeps no weights
        if checksum_of(shared) != before:
            log.error("The weights of %s were changed; they are read from the file again.", parts.path.name)
            reload()


def _models(unet: Tensors, vae: Tensors, text: Tensors, parts: Parts) -> Models:
    import torch

    # Half precision is trained by autocast with fp32 LoRA weights, which works on CUDA and XPU only.
    half = parts.device.type in ("cuda", "xpu") and parts.dtype in (torch.float16, torch.bfloat16)
    dtype = parts.dtype if half else torch.float32
    facts, owner = parts.facts, parts.path.name
    if coarse(unet.values()) or coarse(text.values()):
        seen_unet, seen_text = _from_file(parts, dtype)
    else:
        seen_unet = loading.unet_from(unet, facts, owner)
        seen_text = loading.text_encoder_from(text, facts, owner)
    seen_vae = loading.vae_from(vae, facts, owner)
    vae_dtype = seen_vae.dtype if half else torch.float32  # a VAE kept in fp32 stays so: in fp16 it may give NaN
    return Models(
        unet=_moved(seen_unet, parts.device, dtype),
        vae=_moved(seen_vae, parts.device, vae_dtype),
        text_encoder=_moved(seen_text, parts.device, dtype),
        tokenizer=clip_tokenizer(),
        alphas_cumprod=parts.alphas_cumprod.detach().to("cpu", torch.float32, copy=True),
        prediction_type=facts.prediction_type,
        latent_scale=facts.latent_scale,
        native_px=facts.native_px,
        name=parts.path.stem,
        sha256=parts.sha256,
        device=parts.device,
        dtype=dtype,
    )


def _moved(module: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """On the device and of the type to compute with; nothing is copied where it is so already, as it mostly is."""
    from torch import nn

    return nn.Module.to(module, device, dtype)  # diffusers' own warns about types, whatever they are


def _from_file(parts: Parts, dtype: torch.dtype) -> tuple[Any, Any]:
    """UNet and text encoder as they were before the host rounded them."""
    try:
        file = open_header(parts.path)
        require_sd15(file, own_vae=True)
    except CheckpointError as error:
        raise CheckpointError(
            f"The weights are loaded in fewer bits than can be trained on, and the file can't be used: {error.message}",
            "Switch the low-bit (FP8, NF4, GGUF) setting off, or choose an SD1.5 .safetensors checkpoint.",
        ) from error
    unet = loading.ldm_unet(file, parts.facts, parts.device, dtype)
    return unet, loading.ldm_text_encoder(file, parts.facts, parts.device, dtype)


def coarse(tensors: Any) -> bool:
    """Whether a weight is kept in fewer bits than can be trained on: fp8, nf4, gguf."""
    import torch

    fine = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)
    return any(tensor.dtype not in fine or hasattr(tensor, "gguf_cls") for tensor in tensors)


def heads_of(module: Any) -> int | None:
    """The number of attention heads, which shapes don't tell; None when no module says so."""
    named = getattr(getattr(module, "config", None), "num_attention_heads", None)
    return named or next((int(part.heads) for part in module.modules() if hasattr(part, "heads")), None)


def _require_sd15(unet: Tensors, text: Tensors, parts: Parts) -> None:
    kind = "" if coarse(unet.values()) else kind_of_shapes({UNET + name: tuple(t.shape) for name, t in unet.items()})
    if not kind and not any(name.endswith("embeddings.position_embedding.weight") for name in text):
        kind = "a checkpoint whose text encoder is not CLIP's"
    if not kind and parts.facts.prediction_type not in ("epsilon", "v_prediction"):
        kind = f"a checkpoint that predicts {parts.facts.prediction_type}"
    if kind:
        raise refusal(parts.path.stem, kind)


def refusal(name: str, kind: str) -> CheckpointError:
    """The one sentence for a checkpoint of another kind, with the way out."""
    return CheckpointError(f"{name} is {kind}; Distill trains SD1.5.", CHOOSE)


def _aliases(module: Any) -> Tensors:
    """Every tensor of `module` by name, in the same memory, as ordinary tensors.

    Not the parameters themselves: taking them over would change the host's `requires_grad`, and what Forge loads
    are inference tensors, which autograd refuses. `.wrapped.` is where the hosts wrap CLIP's token embedding.
    """
    named = (*module.named_parameters(), *module.named_buffers())
    return {name.replace(".wrapped.", "."): _alias(tensor) for name, tensor in named}


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if hasattr(tensor, "gguf_cls"):
        return tensor  # packed bits; only looked at
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
