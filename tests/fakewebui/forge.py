"""A fake of Forge (2025-06): loads lazily and under inference mode; LoRAs are patches that loading merges."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.fakewebui import describers, modules
from tests.fakewebui.a1111 import _heads
from tests.fakewebui.common import FakeWebUI, _module
from tests.models.tiny import alphas_cumprod


class FakeInitialModel:
    """What Forge has in place of a model until the first picture: true, and without anything to train on."""

    cond_stage_model = None


class LoraLoader:
    """One for each module, shared by all its patchers; merging replaces parameters and keeps the old ones."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.backup, self.loaded_hash = model, {}, str([])

    @torch.inference_mode()
    def refresh(self, loras: list[str]) -> None:
        if str(loras) == self.loaded_hash:
            return
        for name, layer in modules.layers(self.model):
            if name in self.backup:
                layer.weight = self.backup.pop(name)
            added = [d for lora in loras if (d := modules.delta(name, lora, layer.weight)) is not None]
            if added:
                self.backup[name] = layer.weight
                merged = (layer.weight.float() + sum(added)).to(layer.weight.dtype)
                layer.weight = nn.Parameter(merged, requires_grad=False)
        self.loaded_hash = str(loras)


class Patcher:
    """`ModelPatcher`: a module and the LoRAs that it should have when it is loaded."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.loras = model, []
        if not hasattr(model, "lora_loader"):
            model.lora_loader = LoraLoader(model)

    @classmethod
    def around(cls, model: nn.Module, load_device: Any, offload_device: Any) -> Patcher:
        return cls(model)

    def clone(self, loras: list[str]) -> Patcher:
        other = Patcher(self.model)
        other.loras = loras
        return other


class ForgeObjects(SimpleNamespace):
    def shallow_copy(self) -> ForgeObjects:
        return ForgeObjects(**vars(self))


class MemoryManagement(ModuleType):
    """`backend.memory_management`: what is loaded already is not looked at again."""

    def __init__(self, name: str = "backend.memory_management") -> None:
        super().__init__(name)
        self.current_loaded_models: list[Patcher] = []

    def load_models_gpu(self, patchers: list[Patcher], memory_required: int = 0) -> None:
        for patcher in patchers:
            if any(patcher is loaded for loaded in self.current_loaded_models):
                continue
            loaded = [other for other in self.current_loaded_models if other.model is not patcher.model]
            self.current_loaded_models = [*loaded, patcher]
            patcher.model.lora_loader.refresh(patcher.loras)

    def unload_all_models(self) -> None:
        self.current_loaded_models.clear()  # a merged LoRA stays merged

    def cleanup_models(self) -> None:
        describers.cleanup_models(self.current_loaded_models)

    def get_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def soft_empty_cache(self) -> None:
        pass


class FakeForge(FakeWebUI):
    """`storage` is the "Diffusion in Low Bits" setting."""

    def __init__(self, *args: Any, storage: torch.dtype = torch.float32) -> None:
        self.memory, self.storage = self._memory(), storage
        self.loads = 0
        super().__init__(*args)

    def generate(self, *loras: str) -> dict[str, torch.Tensor]:
        """A picture: the weights that it is made with."""
        with self.queue_lock:
            self.state.begin(job="task(txt2img-1)")
            model, _ = self._reload()
            model.forge_objects = model.forge_objects_original.shallow_copy()
            self._load_networks(model, list(loras))
            model.forge_objects = model.forge_objects_after_applying_lora.shallow_copy()
            self.memory.load_models_gpu([model.forge_objects.clip.patcher])
            self.memory.load_models_gpu([model.forge_objects.unet])
            self.memory.load_models_gpu([model.forge_objects.vae.patcher])
            self.state.end()
            return self.weights()

    def weights(self) -> dict[str, torch.Tensor]:
        found = {}
        with torch.inference_mode():
            for i, root in enumerate(self._roots()):
                found |= {f"{i}.{name}": p.clone() for name, p in root.named_parameters()}
        return found

    def modules(self) -> list[nn.Module]:
        return [module for root in self._roots() for module in root.modules()]

    def _roots(self) -> list[nn.Module]:
        objects = self.models.model_data.sd_model.forge_objects_original
        return [objects.unet.model, objects.clip.cond_stage_model, objects.vae.first_stage_model]

    def choose(self, path: Any) -> None:
        super().choose(path)
        self.models.model_data.forge_loading_parameters = {"checkpoint_info": self.chosen}

    def _sd_models(self) -> ModuleType:
        made = super()._sd_models()
        made.model_data = SimpleNamespace(sd_model=FakeInitialModel(), forge_loading_parameters={}, forge_hash="")
        made.forge_model_reload = self._reload
        return made

    def _more_modules(self) -> dict[str, ModuleType]:
        return {self.memory.__name__: self.memory, "modules.devices": _module("devices")}

    def _manager(self) -> tuple[Any, Any]:
        return self.memory, Patcher.around

    def _memory(self) -> MemoryManagement:
        return MemoryManagement()

    @torch.inference_mode()
    def _reload(self) -> tuple[Any, bool]:
        assert self.queue_lock.locked()
        data = self.models.model_data
        wanted = str(data.forge_loading_parameters["checkpoint_info"].filename)
        if data.forge_hash == wanted:
            return data.sd_model, False
        data.sd_model = self._load()
        data.forge_hash = wanted
        self.loads += 1
        return data.sd_model, True

    def _load(self) -> Any:
        tensors, params = self.read()
        heads, text_heads = _heads(params)
        kmodel = modules.Node()
        kmodel.diffusion_model = modules.unet(tensors, heads).to(self.storage)
        kmodel.storage_dtype, kmodel.computation_dtype = self.storage, torch.float32
        kind = "v_prediction" if params.get("parameterization") == "v" else "epsilon"
        kmodel.predictor = SimpleNamespace(prediction_type=kind, alphas_cumprod=alphas_cumprod())
        vae = modules.vae(tensors)
        vae.scaling_factor = params["scale_factor"]
        text = modules.Node()
        text.clip_l = modules.Node()
        text.clip_l.transformer = modules.text_encoder(tensors, text_heads, twice=True)
        for root in (kmodel, vae, text):
            root.requires_grad_(False).eval()
        objects = ForgeObjects(
            unet=Patcher(kmodel),
            clip=SimpleNamespace(cond_stage_model=text, patcher=Patcher(text)),
            vae=SimpleNamespace(first_stage_model=vae, patcher=Patcher(vae)),
        )
        return SimpleNamespace(
            sd_checkpoint_info=self.chosen,
            is_sd1=True,
            is_sd2=False,
            is_sdxl=False,
            is_sd3=False,
            current_lora_hash=str([]),
            forge_objects=objects.shallow_copy(),
            forge_objects_original=objects,
            forge_objects_after_applying_lora=objects.shallow_copy(),
        )

    def _load_networks(self, model: Any, loras: list[str]) -> None:
        if model.current_lora_hash == str(loras):
            return
        model.current_lora_hash = str(loras)
        original = model.forge_objects_original
        model.forge_objects.unet, model.forge_objects.clip = original.unet, original.clip
        if loras:
            model.forge_objects.unet = original.unet.clone(loras)
            text = original.clip
            patcher = text.patcher.clone(loras)
            model.forge_objects.clip = SimpleNamespace(cond_stage_model=text.cond_stage_model, patcher=patcher)
        model.forge_objects_after_applying_lora = model.forge_objects.shallow_copy()
