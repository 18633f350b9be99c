"""sd-scripts' arguments under the names that kohya_ss' page has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.presets.kohya_values import flat, is_set, pairs

_MARKS = {"LoRA_type", "network_module", "network_args", "network_dim", "optimizer_type", "unet_lr"}
_RENAMED = {"optimizer_type": "optimizer", "resolution": "max_resolution", "preset": "LyCORIS_preset"}
_LYCORIS = {"locon": "LyCORIS/LoCon", "lora": "LyCORIS/LoCon", "loha": "LyCORIS/LoHa", "lokr": "LyCORIS/LoKr"}


def is_kohya(content: Mapping[str, Any]) -> bool:
    """Whether a file's content is kohya's, of the page or of the scripts."""
    return bool(_MARKS & set(flat(content)))


def as_in_the_gui(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings by the page's names, the network's arguments among them."""
    found = dict(given)
    try:
        network = pairs(found.get("network_args"))
        del found["network_args"]
    except (KeyError, ValueError):
        network = {}  # what can't be read stays there, and is named as unknown
    algo = network.pop("algo", "")
    if "network_module" in found or algo:
        found["LoRA_type"] = _type(str(found.get("network_module") or ""), algo, "conv_dim" in network)
    for old, name in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if is_set(found.pop(old, False)):
            found["optimizer"] = name
    return {_RENAMED.get(key, key): value for key, value in (found | network).items()}


def _type(module: str, algo: str, has_convolutions: bool) -> str:
    if module == "lycoris.kohya" or algo:
        return _LYCORIS.get(algo or "lora", algo)
    if module in ("", "networks.lora"):
        return "Kohya LoCon" if has_convolutions else "Standard"
    return module
