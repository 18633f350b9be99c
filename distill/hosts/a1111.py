"""AUTOMATIC1111's WebUI and what keeps its way with models, such as the one for AMD: LDM modules in `shared.sd_model`.

What its internals do was read in 1.10.1 and seen on a running server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill.errors import CheckpointError
from distill.hosts.ldm_view import CHOOSE, Parts, coarse, heads_of, refusal
from distill.hosts.schedule import Facts
from distill.hosts.webui import WebUIHost, module


class A1111(WebUIHost):
    """Lends `shared.sd_model`."""

    def __init__(self) -> None:
        super().__init__(name="A1111")

    @contextmanager
    def _parts(self) -> Iterator[Parts]:
        model = load_chosen()
        text_encoder = getattr(getattr(model.cond_stage_model, "wrapped", None), "transformer", None)
        if text_encoder is None:
            raise refusal(Path(model.sd_checkpoint_info.filename).stem, "a checkpoint of another kind")
        devices = module("modules.devices")
        _take_loras_out(model)
        with _room(model, devices):
            yield Parts(
                unet=model.model.diffusion_model,
                vae=model.first_stage_model,
                text_encoder=text_encoder,
                facts=Facts(
                    prediction_type="v_prediction" if model.parameterization == "v" else "epsilon",
                    native_px=self._native_px(model, Path(model.sd_checkpoint_info.filename)),
                    latent_scale=float(model.scale_factor),
                    unet_heads=heads_of(model.model.diffusion_model) or Facts.unet_heads,
                    clip_heads=heads_of(text_encoder),
                ),
                # The original: the other one is rounded or rescaled as the settings of the last picture wanted.
                alphas_cumprod=self._schedule(getattr(model, "alphas_cumprod_original", model.alphas_cumprod)),
                device=devices.device,
                dtype=_dtype(model, devices),
                path=Path(model.sd_checkpoint_info.filename),
                sha256=model.sd_checkpoint_info.sha256 or "",
            )

    def _reload(self) -> None:
        module("modules.sd_models").reload_model_weights(forced_reload=True)

    def _native_px(self, model: Any, path: Path) -> int:
        known = model is not None and Path(model.sd_checkpoint_info.filename) == path
        size = getattr(model, "image_size", None) if known else None  # of the latents
        return 8 * int(size) if isinstance(size, int) else super()._native_px(model, path)


def load_chosen() -> Any:
    """The chosen checkpoint's model, loaded the way the WebUI itself does before a picture.

    Raises CheckpointError when it can't be loaded. The queue's lock is held by our turn.
    """
    sd_models = module("modules.sd_models")
    try:
        module("modules.shared").sd_model  # noqa: B018 - loads the first one, or waits while the start-up thread does
        model = sd_models.reload_model_weights()  # another one, when the choice has changed since
    except Exception as error:
        raise CheckpointError(f"The WebUI could not load its checkpoint ({error}).", CHOOSE) from error
    if model is None:
        raise CheckpointError("The WebUI could not load its checkpoint; its console says why.", CHOOSE)
    return model


def _take_loras_out(model: Any) -> None:
    """The weights as the file has them: a LoRA stays merged in them after its picture.

    The next picture merges its own again, because each module's note of what is merged goes as well.
    """
    import torch

    networks = module("networks")
    if networks is None or not hasattr(networks, "network_apply_weights"):
        return  # the Lora extension is switched off
    networks.loaded_networks.clear()
    with torch.no_grad():
        for part in model.modules():
            if hasattr(part, "network_layer_name"):
                networks.network_apply_weights(part)
                networks.network_reset_cached_weight(part)


@contextmanager
def _room(model: Any, devices: Any) -> Iterator[None]:
    """The model where it is best borrowed from; afterwards where the WebUI wants it."""
    sd_models = module("modules.sd_models")
    weights = [*model.model.parameters()]
    on_cpu = str(devices.device) == "cpu"
    aside = False
    if getattr(model, "lowvram", False):
        # --medvram, --lowvram: their hooks move parts in and out, which a view would never see. With all parts
        # in the CPU's memory the view makes its own copies on the device, and the hooks go on as before.
        module("modules.lowvram").send_everything_to_cpu()
    elif coarse(weights) and not on_cpu:
        aside = True  # trained from the file: what is loaded would only take memory
        sd_models.send_model_to_cpu(model)
    elif weights[0].device.type != devices.device.type:
        sd_models.send_model_to_device(model)  # "Unload SD checkpoint to RAM" was used
    try:
        yield
    finally:
        if aside:
            sd_models.send_model_to_device(model)
        devices.torch_gc()


def _dtype(model: Any, devices: Any) -> Any:
    import torch

    weight = next(model.model.parameters())
    upcast = getattr(devices, "unet_needs_upcast", False)  # a card that computes wrongly in half precision
    return torch.float32 if upcast else devices.dtype if coarse([weight]) else weight.dtype
