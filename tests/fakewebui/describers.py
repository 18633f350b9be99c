"""Fakes of `modules/interrogate.py` and `modules/deepbooru.py`: tiny models, read from where the WebUI keeps them."""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn

TAGS = ["1girl", "red_hair", "blue_hair", "rating:safe"]


class Colours(nn.Module):
    """In place of both networks: tells red from blue."""

    tags: list[str]
    living: ClassVar[weakref.WeakSet[Colours]] = weakref.WeakSet()

    def __init__(self) -> None:
        super().__init__()
        self.living.add(self)
        self.look = nn.Linear(3, 3, bias=False)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:  # (N, h, w, 3), as DeepDanbooru's
        red, _, blue = self.look(levels.mean((1, 2))).unbind(-1)
        return torch.stack([red * 0 + 0.9, red, blue, red * 0 + 1], -1)

    def generate(
        self, image: torch.Tensor, sample: bool, num_beams: int, min_length: int, max_length: int
    ) -> list[str]:
        assert image.dtype == next(self.parameters()).dtype
        assert not torch.is_grad_enabled()
        red, _, blue = self.look(image.mean((2, 3)))[0].tolist()
        return ["a woman in red" if red > blue else "a woman in blue"]


def put_weights(models: Path) -> None:
    """As "Interrogate CLIP" and "Interrogate DeepBooru" leave them, but small."""
    state = {"look.weight": torch.eye(3)}
    for folder, file, content in (
        ("BLIP", "model_base_caption_capfilt_large.pth", {"model": state}),
        ("torch_deepdanbooru", "model-resnet_custom_v3.pt", {"tags": TAGS, **state}),
    ):
        (models / folder).mkdir(parents=True, exist_ok=True)
        torch.save(content, models / folder / file)


class ModelLoader(ModuleType):
    """`modules.modelloader`: downloads when it is given an address and finds no file."""

    def __init__(self) -> None:
        super().__init__("modules.modelloader")
        self.downloads: list[str] = []

    def load_models(self, model_path: str, model_url: str | None = None, ext_filter: Any = None) -> list[str]:
        found = [os.path.join(at, name) for at, _, names in os.walk(model_path, followlinks=True) for name in names]
        found = [path for path in found if os.path.splitext(path)[1] in ext_filter]
        if model_url is not None and not found:
            self.downloads.append(model_url)
        return found


class InterrogateModels:
    """A1111's; with `manager` Forge's, which leaves the moving of models to it."""

    blip_model: Any = None
    clip_model: Any = None
    dtype: Any = None
    running_on_cpu: Any = None

    def __init__(self, webui: Any, code: ModuleType, manager: Any) -> None:
        self._webui, self._code, self._manager = webui, code, manager
        self.loaded_categories = None
        if manager is None:
            self.running_on_cpu = True
        else:
            self.load_device = self.offload_device = torch.device("cpu")
            self.dtype = torch.float32
            self.blip_patcher = self.clip_patcher = None

    def load_blip_model(self) -> Any:
        files = self._webui.modelloader.load_models(str(self._webui.models_path / "BLIP"), "https://blip", [".pth"])
        model = Colours()
        model.load_state_dict(torch.load(files[0], map_location="cpu")["model"])
        return model.eval()

    def load(self) -> None:
        self._webui.clips_loaded += 1
        for name, make in (("blip", self.load_blip_model), ("clip", Colours)):
            if getattr(self, f"{name}_model") is None:
                setattr(self, f"{name}_model", make())
                if self._manager is not None:
                    patcher = self._code.ModelPatcher(getattr(self, f"{name}_model"), None, None)
                    setattr(self, f"{name}_patcher", patcher)
        if self._manager is None:
            self.dtype = next(self.clip_model.parameters()).dtype
        else:
            self._manager.load_models_gpu([self.blip_patcher, self.clip_patcher])

    def send_blip_to_ram(self) -> None:
        if self._manager is None and not self._webui.opts.interrogate_keep_models_in_memory:
            self.blip_model = self.blip_model.to("cpu")
            self._webui.sent_to_ram += 1

    def generate_caption(self, image: Image.Image) -> str:
        levels = np.asarray(image.resize((384, 384)), np.float32) / 255
        tensor = torch.from_numpy(levels).permute(2, 0, 1)[None].type(self.dtype)
        with torch.no_grad():
            return self.blip_model.generate(tensor, sample=False, num_beams=1, min_length=24, max_length=48)[0]

    def interrogate(self, image: Image.Image) -> str:
        said = ""
        self._webui.state.begin(job="interrogate")
        try:
            self.load()
            said = self.generate_caption(image)
            self.send_blip_to_ram()
        except Exception:  # noqa: BLE001 - as it does
            said += "<error>"
        self._webui.state.end()
        return said


class DeepDanbooru:
    """`modules.deepbooru.model`."""

    def __init__(self, webui: Any, code: ModuleType, manager: Any) -> None:
        self._webui, self._code, self._manager = webui, code, manager
        self.model: Any = None
        if manager is not None:
            self.patcher: Any = None

    def load(self) -> None:
        if self.model is not None:
            return
        folder = str(self._webui.models_path / "torch_deepdanbooru")
        files = self._webui.modelloader.load_models(folder, "https://deepbooru", [".pt"])
        state = torch.load(files[0], map_location="cpu")
        self.model = Colours()
        self.model.tags = state.pop("tags")
        self.model.load_state_dict(state)
        if self._manager is not None:
            self.patcher = self._code.ModelPatcher(self.model, None, None)

    def start(self) -> None:
        self.load()
        if self._manager is not None:
            self._manager.load_models_gpu([self.patcher])

    def stop(self) -> None:
        if self._manager is None and not self._webui.opts.interrogate_keep_models_in_memory:
            self._webui.sent_to_ram += 1

    def tag_multi(self, image: Image.Image, force_disable_ranks: bool = False) -> str:
        levels = np.asarray(image.resize((64, 64)), np.float32)[None] / 255
        with torch.no_grad():
            found = self.model(torch.from_numpy(levels))[0].tolist()
        ranks = self._webui.opts.interrogate_return_ranks and not force_disable_ranks
        tags = [(t, p) for t, p in zip(self.model.tags, found) if p > 0.5 and not t.startswith("rating:")]
        return ", ".join(f"({t}:{p:.3f})" if ranks else t.replace("_", " ") for t, p in tags)


def install(webui: Any, manager: Any, patcher: Any) -> dict[str, ModuleType]:
    """The WebUI's modules for them; `manager` and `patcher` are Forge's."""
    webui.modelloader, webui.clips_loaded, webui.sent_to_ram = ModelLoader(), 0, 0
    webui.opts.interrogate_keep_models_in_memory = webui.opts.interrogate_return_ranks = False
    webui.cmd_opts.no_half = True
    cpu = torch.device("cpu")
    devices = SimpleNamespace(cpu=cpu, device_interrogate=cpu, torch_gc=lambda: None)
    lowvram = SimpleNamespace(send_everything_to_cpu=lambda: None)
    made = {}
    for name in ("interrogate", "deepbooru"):
        code = ModuleType(f"modules.{name}")
        code.devices = devices
        if manager is not None:
            vars(code).update({manager.__name__.rpartition(".")[2]: manager, "ModelPatcher": patcher})
        elif name == "interrogate":
            code.lowvram = lowvram
        made[code.__name__] = code
    webui.interrogator = InterrogateModels(webui, made["modules.interrogate"], manager)
    webui.tagger = made["modules.deepbooru"].model = DeepDanbooru(webui, made["modules.deepbooru"], manager)
    return {**made, "modules.modelloader": webui.modelloader}


def cleanup_models(loaded: list[Any]) -> None:
    """Forge's: what nobody else holds is let go of."""
    for i in range(len(loaded) - 1, -1, -1):
        if sys.getrefcount(loaded[i]) <= 2:
            loaded.pop(i)
