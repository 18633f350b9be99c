"""A fake of reForge and Forge Classic, from reading: Forge's objects, loaded as A1111 loads."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from tests.fakewebui.a1111 import SdModelData, Shared
from tests.fakewebui.forge import FakeForge, MemoryManagement


class ModelSampling:
    """`BaseModel.model_sampling`: a class mixed from a schedule and a way of predicting."""


class EPS(ModelSampling):
    pass


class V_PREDICTION(EPS):
    pass


class FakeReForge(FakeForge):
    """Its UNet's module knows its schedule by sigmas only."""

    def _memory(self) -> MemoryManagement:
        return MemoryManagement("ldm_patched.modules.model_management")

    def _sd_models(self) -> ModuleType:
        made = super()._sd_models()
        del made.forge_model_reload
        made.model_data = SdModelData(self._load_into)
        made.reload_model_weights = self._reload_model_weights
        return made

    def _shared(self) -> ModuleType:
        made = Shared("modules.shared")
        vars(made).update(vars(super()._shared()))
        made.data = self.models.model_data
        return made

    def _reload(self) -> tuple[Any, bool]:
        return self._reload_model_weights(), False

    def _reload_model_weights(self, forced_reload: bool = False) -> Any:
        model = self.models.model_data.sd_model
        if model is None or forced_reload or model.sd_checkpoint_info is not self.chosen:
            self._load_into()
        return self.models.model_data.sd_model

    def _load_into(self) -> None:
        model = self._load()
        unet = model.forge_objects_original.unet
        predictor = unet.model.predictor
        kind = V_PREDICTION if predictor.prediction_type == "v_prediction" else EPS
        del unet.model.predictor, unet.model.computation_dtype
        del model.forge_objects_original.vae.first_stage_model.scaling_factor
        unet.model.manual_cast_dtype = None
        unet.model.model_sampling = kind()
        unet.model.model_sampling.sigmas = (1 / predictor.alphas_cumprod - 1) ** 0.5
        unet.model.latent_format = SimpleNamespace(scale_factor=self.read()[1]["scale_factor"])
        self.models.model_data.sd_model = model
        self.loads += 1
