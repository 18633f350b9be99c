"""Forge and its descendants: model patchers in `sd_model.forge_objects`, moved by a memory manager.

Seen on a running Forge of 2025-06; reForge, Forge Classic and Forge Neo by reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill.errors import CheckpointError
from distill.hosts.a1111 import load_chosen
from distill.hosts.ldm_view import CHOOSE, Parts, coarse, heads_of, refusal
from distill.hosts.schedule import Facts
from distill.hosts.webui import WebUIHost, module

BACKENDS = ("backend.memory_management", "ldm_patched.modules.model_management")
ROOM = 3 * 2**30  # bytes on the device that training wants beside the model; other models make room for it
NO_LORAS = str([])  # Forge's hash of an empty list of LoRAs


class Forge(WebUIHost):
    """Lends `sd_model.forge_objects_original`."""

    def __init__(self) -> None:
        newer, own = hasattr(module("modules.shared").cmd_opts, "lora_dirs"), module(BACKENDS[0]) is not None
        super().__init__(name="Forge Neo" if newer else "Forge" if own else "reForge")

    @contextmanager
    def _parts(self) -> Iterator[Parts]:
        model = _load_chosen()
        path = Path(model.sd_checkpoint_info.filename)
        objects = model.forge_objects_original
        text_encoder = getattr(getattr(objects.clip, "cond_stage_model", None), "clip_l", None)
        if not getattr(model, "is_sd1", True) or text_encoder is None:
            raise refusal(path.stem, "a checkpoint of another kind")
        memory = _memory()
        _take_loras_out(model, memory)
        kmodel, vae = objects.unet.model, objects.vae.first_stage_model
        try:
            yield Parts(
                unet=kmodel.diffusion_model,
                vae=vae,
                text_encoder=text_encoder.transformer,
                facts=Facts(
                    prediction_type=_prediction_type(kmodel),
                    native_px=self._native_px(model, path),
                    latent_scale=_latent_scale(kmodel, vae),
                    unet_heads=heads_of(kmodel.diffusion_model) or Facts.unet_heads,
                    clip_heads=heads_of(text_encoder.transformer),
                ),
                alphas_cumprod=self._schedule(_alphas_cumprod(kmodel)),
                device=memory.get_torch_device(),
                dtype=_dtype(kmodel),
                path=path,
                sha256=model.sd_checkpoint_info.sha256 or "",
            )
        finally:
            memory.soft_empty_cache()

    def _reload(self) -> None:
        if module(BACKENDS[0]) is None:
            module("modules.sd_models").reload_model_weights(forced_reload=True)
        else:
            module("modules.sd_models").model_data.forge_hash = ""  # the next picture loads the file again


def _load_chosen() -> Any:
    """The chosen checkpoint's model: Forge loads only when a picture is made, and keeps the old one until then.

    Raises CheckpointError when it can't be loaded. The queue's lock is held by our turn.
    """
    sd_models = module("modules.sd_models")
    if not hasattr(sd_models, "forge_model_reload"):
        return load_chosen()  # reForge and Classic load as A1111 does
    try:
        model, _ = sd_models.forge_model_reload()
        if model is None:  # it failed before, and Forge takes it for loaded since
            sd_models.model_data.forge_hash = ""
            model, _ = sd_models.forge_model_reload()
    except Exception as error:
        raise CheckpointError(f"The WebUI could not load its checkpoint ({error}).", CHOOSE) from error
    if model is None:
        raise CheckpointError("The WebUI could not load its checkpoint; its console says why.", CHOOSE)
    return model


def _memory() -> Any:
    return next(found for name in BACKENDS if (found := module(name)) is not None)


def _take_loras_out(model: Any, memory: Any) -> None:
    """Pristine weights on the device: a LoRA stays merged in them after its picture."""
    import torch

    objects = model.forge_objects_original
    with torch.inference_mode():  # as where Forge calls these itself
        if coarse(objects.unet.model.parameters()):
            memory.unload_all_models()  # trained from the file: what is loaded would only take memory
            memory.load_models_gpu([objects.vae.patcher], memory_required=ROOM)
        else:
            if model.current_lora_hash != NO_LORAS:
                memory.unload_all_models()
            # Loading the patchers without LoRAs takes out what their clones with LoRAs have merged.
            patchers = [objects.unet, objects.clip.patcher, objects.vae.patcher]
            memory.load_models_gpu(patchers, memory_required=ROOM)
    # Forge skips what its hash says is applied. Left as it was, the next picture with the same LoRA would come
    # without it; reset alone, the next picture without a LoRA would come with the old one.
    model.current_lora_hash = NO_LORAS
    model.forge_objects = objects.shallow_copy()
    model.forge_objects_after_applying_lora = objects.shallow_copy()


def _prediction_type(kmodel: Any) -> str:
    predictor = getattr(kmodel, "predictor", None)
    if predictor is not None:
        return str(predictor.prediction_type)
    kinds = {kind.__name__ for kind in type(kmodel.model_sampling).__mro__}  # ldm_patched mixes one in
    if "EDM" in kinds:
        return "edm"
    return "v_prediction" if "V_PREDICTION" in kinds else "epsilon"


def _alphas_cumprod(kmodel: Any) -> Any:
    predictor = getattr(kmodel, "predictor", None)
    if predictor is not None:
        return predictor.alphas_cumprod.detach().clone()
    return 1 / (kmodel.model_sampling.sigmas.detach().float() ** 2 + 1)


def _latent_scale(kmodel: Any, vae: Any) -> float:
    latents = getattr(kmodel, "latent_format", None)  # ldm_patched
    return float(latents.scale_factor if latents is not None else vae.scaling_factor)


def _dtype(kmodel: Any) -> Any:
    """What the host computes in, which is not always what it stores."""
    computed = getattr(kmodel, "computation_dtype", None) or getattr(kmodel, "manual_cast_dtype", None)
    return computed or next(kmodel.parameters()).dtype
