"""diffusers' and transformers' modules from LDM or diffusers tensors, without a second copy in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CheckpointError
from distill.hosts.kinds import TEXT, UNET, VAE
from distill.hosts.layout import clip_config, unet_config, vae_config
from distill.hosts.schedule import Facts, read_json
from distill.hosts.tensor_file import TensorFile, open_header

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

# SD1.5's VAE on the hub still has the attention names of diffusers < 0.13.
OLD_ATTENTION = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))


def ldm_unet(file: TensorFile, facts: Facts, device: torch.device, dtype: torch.dtype) -> Any:
    """UNet2DConditionModel from `model.diffusion_model.*`; an EMA copy in the file is left alone, as WebUIs do."""
    return unet_from(_read(file, UNET, device, dtype), facts, file.path.name)


def ldm_vae(file: TensorFile, facts: Facts, device: torch.device, dtype: torch.dtype) -> Any:
    """AutoencoderKL from `first_stage_model.*`, or from a VAE file, whose names have no prefix."""
    prefix = VAE if any(name.startswith(VAE) for name in file.entries) else ""
    return vae_from(_read(file, prefix, device, dtype), facts, file.path.name)


def ldm_text_encoder(file: TensorFile, facts: Facts, device: torch.device, dtype: torch.dtype) -> Any:
    """CLIPTextModel from `cond_stage_model.transformer.*`, with or without `text_model.` in the names."""
    return text_encoder_from(_read(file, TEXT, device, dtype), facts, file.path.name)


def unet_from(tensors: Tensors, facts: Facts, owner: str) -> Any:
    """UNet2DConditionModel around tensors under LDM names without a prefix; they are shared, not copied."""
    config = _sizes(owner, lambda: unet_config(_shapes(tensors), heads=facts.unet_heads))
    config["sample_size"] = facts.native_px // 8
    # The prefix is what diffusers' converter looks for.
    state = _converters().convert_ldm_unet_checkpoint({UNET + name: t for name, t in tensors.items()}, config)
    return assemble(lambda: _diffusers().UNet2DConditionModel(**config), state, f"the UNet of {owner}")


def vae_from(tensors: Tensors, facts: Facts, owner: str) -> Any:
    """AutoencoderKL around tensors under LDM names without a prefix; they are shared, not copied."""
    tensors = {name: t for name, t in tensors.items() if re.match(r"(encoder|decoder|(post_)?quant_conv)\.", name)}
    config = _sizes(owner, lambda: vae_config(_shapes(tensors)))
    if config["latent_channels"] != 4:
        raise CheckpointError(
            f"{owner} is not SD1.5's VAE: it has {config['latent_channels']} channels.", "Give another."
        )
    config |= {"sample_size": facts.native_px, "scaling_factor": facts.latent_scale}
    state = _converters().convert_ldm_vae_checkpoint({VAE + name: t for name, t in tensors.items()}, config)
    return assemble(lambda: _diffusers().AutoencoderKL(**config), state, f"the VAE of {owner}")


def text_encoder_from(tensors: Tensors, facts: Facts, owner: str) -> Any:
    """CLIPTextModel around tensors under CLIP's names without a prefix; they are shared, not copied."""
    state = {_bare_clip(name): tensor for name, tensor in tensors.items()}
    state = {name: t for name, t in state.items() if name.startswith(("embeddings.", "encoder.", "final_layer"))}
    config = _sizes(owner, lambda: clip_config(_shapes(state), heads=facts.clip_heads))
    return assemble_clip(config, state, f"the text encoder of {owner}")


def folder_unet(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """UNet2DConditionModel from a diffusers folder's `unet/`."""
    config, state = _part(folder / "unet", device, dtype)
    return assemble(lambda: _diffusers().UNet2DConditionModel.from_config(config), state, "unet/")


def folder_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """AutoencoderKL from a diffusers folder's `vae/`."""
    config, state = _part(folder / "vae", device, dtype)
    for old, new in OLD_ATTENTION:
        state = {name.replace(old, new): tensor for name, tensor in state.items()}
    return assemble(lambda: _diffusers().AutoencoderKL.from_config(config), state, "vae/")


def folder_text_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """CLIPTextModel from a diffusers folder's `text_encoder/`."""
    config, state = _part(folder / "text_encoder", device, dtype)
    return assemble_clip(config, {_bare_clip(name): tensor for name, tensor in state.items()}, "text_encoder/")


def assemble_clip(config: dict[str, Any], state: dict[str, torch.Tensor], what: str) -> Any:
    """CLIPTextModel from names without `text_model.`, which transformers 5 dropped and older versions want."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    clip = CLIPTextConfig(**{k: v for k, v in config.items() if k not in ("torch_dtype", "dtype", "model_type")})
    with torch.device("meta"):
        wanted = CLIPTextModel(clip).state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in wanted) else ""
    return assemble(lambda: CLIPTextModel(clip), {prefix + name: t for name, t in state.items()}, what)


def assemble(make: Callable[[], Any], state: dict[str, torch.Tensor], what: str) -> Any:
    """The module that `make` gives with `state` as its parameters, frozen and in eval mode.

    Built on the meta device and assigned into, so that the tensors are never copied.
    Raises CheckpointError when tensors are missing, left over or of another shape.
    """
    import torch

    with torch.device("meta"):
        module = make()
    device = next(iter(state.values())).device
    state = {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}
    try:
        missing, extra = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"A tensor in {what} has a wrong shape.", str(error).splitlines()[-1].strip()) from error
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing or extra:
        problem = f"{len(missing)} tensors are missing" if missing else f"{len(extra)} tensors are not SD1.5's"
        raise CheckpointError(f"In {what}, {problem}, for example {(missing + extra)[0]}.", "Download it again.")
    for part in module.modules():  # a buffer that counts 0, 1, 2 ..., and files carry it damaged by fp16 or not at all
        if isinstance(getattr(part, "position_ids", None), torch.Tensor):
            part.position_ids = torch.arange(part.position_ids.shape[-1], device=device)[None]
    return module.requires_grad_(False).eval()


def _diffusers() -> Any:
    import diffusers

    return diffusers


def _converters() -> Any:
    from diffusers.loaders import single_file_utils

    return single_file_utils


def _bare_clip(name: str) -> str:
    return name[len("text_model.") :] if name.startswith("text_model.") else name


def _read(file: TensorFile, prefix: str, device: torch.device, dtype: torch.dtype) -> Tensors:
    # VAE files carry the discriminator of their training as `loss.*`: not worth the memory.
    names = [name for name in file.entries if name.startswith(prefix) and not name.startswith(prefix + "loss.")]
    return {name[len(prefix) :]: tensor for name, tensor in file.read(names, device, dtype).items()}


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _sizes(owner: str, derive: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return derive()
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise CheckpointError(f"{owner} is incomplete: {error} is missing.", "Download it again.") from error


def _part(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config = read_json(folder / "config.json")
    found = sorted(folder.glob("*.safetensors"), key=lambda path: (".non_ema" in path.name, len(path.name)))
    if not found:
        pickled = any(folder.glob("*.bin"))
        raise CheckpointError(
            f"{folder.name}/ has no .safetensors" + (", only a pickle, which can run code." if pickled else "."),
            "Download the folder's .safetensors files.",
        )
    file = open_header(found[0])
    return config, file.read(file.entries, device, dtype)
