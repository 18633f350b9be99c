"""A fake of A1111 1.10.1: one LDM model, LoRAs merged into its weights layer by layer, with backups."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tests.fakewebui import modules
from tests.fakewebui.common import FakeWebUI, _module
from tests.models.tiny import alphas_cumprod


class SdModelData:
    """`sd_models.model_data`: nothing is loaded before somebody asks."""

    def __init__(self, load: Any) -> None:
        self.sd_model = None
        self._load = load

    def get_sd_model(self) -> Any:
        if self.sd_model is None:
            self._load()
        return self.sd_model


class Shared(ModuleType):
    """`modules.shared`, where looking at `sd_model` loads one."""

    data: SdModelData

    @property
    def sd_model(self) -> Any:
        return self.data.get_sd_model()


class FakeA1111(FakeWebUI):
    """`vae` is a VAE file chosen in the settings; `fp8` and `lowvram` are A1111's own modes."""

    def __init__(self, *args: Any, vae: Any = None, fp8: bool = False, lowvram: bool = False) -> None:
        self.vae, self.fp8, self.lowvram = vae, fp8, lowvram
        self.loads = 0
        self.sent_to_cpu = 0
        super().__init__(*args)
        self.networks.loaded_networks = []
        self.networks.network_apply_weights = self._apply
        self.networks.network_reset_cached_weight = _reset

    def generate(self, *loras: str) -> dict[str, torch.Tensor]:
        """A picture: the weights that it is made with."""
        with self.queue_lock:
            self.state.begin(job="task(txt2img-1)")
            model = self._reload()
            self.networks.loaded_networks[:] = loras
            with torch.no_grad():
                for part in model.modules():
                    if isinstance(part, modules.Layer):
                        self._apply(part)
            self.state.end()
            return self.weights()

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.models.model_data.sd_model.named_parameters()}

    def modules(self) -> list[nn.Module]:
        return list(self.models.model_data.sd_model.modules())

    def _sd_models(self) -> ModuleType:
        made = super()._sd_models()
        made.model_data = SdModelData(self._load)
        made.reload_model_weights = self._reload
        made.send_model_to_device = lambda model: None
        return made

    def _shared(self) -> ModuleType:
        made = Shared("modules.shared")
        vars(made).update(opts=self.opts, cmd_opts=self.cmd_opts, state=self.state)
        made.data = self.models.model_data
        return made

    def _more_modules(self) -> dict[str, ModuleType]:
        devices = _module("devices", device=torch.device("cpu"), dtype=torch.float32, unet_needs_upcast=False)
        devices.torch_gc = lambda: None
        return {
            "modules.devices": devices,
            "modules.lowvram": _module("lowvram", send_everything_to_cpu=self._send_to_cpu),
        }

    def _send_to_cpu(self) -> None:
        self.sent_to_cpu += 1

    def _reload(self, sd_model: Any = None, info: Any = None, forced_reload: bool = False) -> Any:
        model = self.models.model_data.sd_model
        if model is None or forced_reload or model.sd_checkpoint_info is not self.chosen:
            self._load()
        return self.models.model_data.sd_model

    def _load(self) -> None:
        tensors, params = self.read()
        heads, text_heads = _heads(params)
        model = modules.Node()
        model.model = modules.Node()
        model.model.diffusion_model = modules.unet(tensors, heads)
        model.first_stage_model = modules.vae(tensors)
        if self.vae:
            model.first_stage_model = modules.tree(load_file(str(self.vae)), 0)
        model.cond_stage_model = modules.Node()
        model.cond_stage_model.wrapped = modules.Node()
        model.cond_stage_model.wrapped.transformer = modules.text_encoder(tensors, text_heads, twice=False)
        for name, layer in modules.layers(model):
            if "first_stage_model" not in name:
                layer.network_layer_name = name  # the Lora extension's mark
        if self.fp8:
            model.model.to(torch.float8_e4m3fn)
            model.cond_stage_model.to(torch.float8_e4m3fn)
        model.is_sd1, model.is_sd2, model.is_sdxl, model.is_sd3 = True, False, False, False
        model.parameterization = params.get("parameterization", "eps")
        model.scale_factor, model.image_size = params["scale_factor"], params["image_size"]
        model.alphas_cumprod_original = alphas_cumprod()
        model.alphas_cumprod = model.alphas_cumprod_original.half().float()  # as a setting may round it
        model.lowvram = self.lowvram
        model.sd_checkpoint_info = self.chosen
        model.sd_model_checkpoint = self.chosen.filename
        self.models.model_data.sd_model = model.eval()
        self.loads += 1

    def _apply(self, layer: Any) -> None:
        """`network_apply_weights`: in place, with a backup made at the first LoRA."""
        name = getattr(layer, "network_layer_name", None)
        wanted = tuple(self.networks.loaded_networks)
        current = getattr(layer, "network_current_names", ())
        if name is None:
            return
        if wanted and getattr(layer, "network_weights_backup", None) is None:
            assert current == (), "no backup weights found and current weights are not unchanged"
            layer.network_weights_backup = layer.weight.to("cpu", copy=True)
        if current != wanted:
            if getattr(layer, "network_weights_backup", None) is not None:
                layer.weight.copy_(layer.network_weights_backup)
            for lora in wanted:
                added = modules.delta(name, lora, layer.weight)
                if added is not None:
                    layer.weight.copy_((layer.weight.float() + added).to(layer.weight.dtype))
            layer.network_current_names = wanted


def _reset(layer: Any) -> None:
    layer.network_current_names = ()
    layer.network_weights_backup = None
    layer.network_bias_backup = None


def _heads(params: dict[str, Any]) -> tuple[int, int]:
    unet, text = params["unet_config"]["params"], params["cond_stage_config"]["clip_config"]
    return unet["num_heads"], text["num_attention_heads"]
