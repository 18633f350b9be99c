"""kohya's settings -> a recipe: kohya_ss' JSON, and sd-scripts' config files. What is not taken is said.

What a file leaves open is as kohya has it, not as we do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill import recipe
from distill.errors import OptionError
from distill.options import each_option
from distill.presets import kohya_keys as keys
from distill.presets.kohya_scripts import as_in_the_gui, is_kohya
from distill.presets.kohya_values import (
    arguments,
    as_kind,
    block_weights,
    flat,
    is_set,
    literal,
    number,
    pairs,
    plain,
)

_KINDS = {f.name: kind for _, f, kind in each_option()}


def read(content: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What differs from our defaults, and a note on everything that was not taken as it stands."""
    given = flat(content)
    is_gui = "LoRA_type" in given
    return _Reading(given if is_gui else as_in_the_gui(given), is_gui).result()


@dataclass
class _Reading:
    """One file on its way; `values` and `notes` grow."""

    file: dict[str, Any]
    is_gui: bool
    values: dict[str, Any] = field(default_factory=lambda: {"spread_timesteps": False})  # kohya draws each by itself
    notes: list[str] = field(default_factory=list)

    def result(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        self._more_arguments()
        base = keys.GUI_DEFAULTS if self.is_gui else keys.SCRIPT_DEFAULTS
        self.given = base | {key: value for key, value in self.file.items() if value not in (None, "")}
        self._network()
        self._direct()
        self._rates()
        self._steps()
        self._schedule()
        self._optimizer()
        self._picture()
        self._blocks()
        self._output()
        self._what_is_left()
        return recipe.differing(recipe.complete(self.values)), tuple(self.notes)

    def _set(self, name: str, value: Any, key: str) -> None:
        """Take a value unless the option refuses it."""
        try:
            recipe.check(name, value)
        except OptionError as error:
            self.notes.append(f"{key} is left out: {error.message} {error.hint}")
        else:
            self.values[name] = value

    def _number(self, key: str, default: float = 0.0) -> float:
        read = number(self.given.get(key))
        if read is None and is_set(self.given.get(key)):
            self.notes.append(f"{key} is left out: {str(self.given[key])[:40]!r} is not a number.")
        return default if read is None else read

    def _more_arguments(self) -> None:
        """kohya_ss passes what its page has no field for as a command line."""
        text = str(self.file.get("additional_parameters") or "")
        try:
            more = arguments(text)
        except ValueError:
            self.notes.append(f"additional_parameters can't be read: {text[:100]}")
            return
        self.file = {**self.file, **(as_in_the_gui(more) if is_kohya(more) else more)}

    def _network(self) -> None:
        kind = str(self.given["LoRA_type"])
        if kind not in keys.TYPES:
            self.notes.append(f"The network {kind[:40]} is not here: it is a plain LoRA instead.")
        self.values["network_type"] = keys.TYPES.get(kind, "lora")
        for size, alpha in (("network_dim", "network_alpha"), ("conv_dim", "conv_alpha")):
            if not self._number(alpha):  # so kohya reads it
                self.given[alpha] = self.given[size]

    def _direct(self) -> None:
        if self._number("clip_skip", 1) == 0:
            self.given["clip_skip"] = 1  # none
        if not self._number("loraplus_lr_ratio"):
            self.given["loraplus_lr_ratio"] = 1  # kohya: 0 switches it off
        self._one_noise()
        for key, name in keys.DIRECT.items():
            if key in self.given and self._means_something(key):
                self._set(name, as_kind(self.given[key], _KINDS[name]), key)
        if self.values.get("min_timestep", 0) >= self.values.get("max_timestep", 1000):
            self.notes.append("min_timestep is left out: it is not below max_timestep.")
            del self.values["min_timestep"]

    def _one_noise(self) -> None:
        """kohya_ss passes on the noise of the chosen kind only."""
        kind = self.given.get("noise_offset_type")
        for key in {"Original": ("multires_noise_iterations",), "Multires": ("noise_offset",)}.get(str(kind), ()):
            self.given.pop(key, None)

    def _means_something(self, key: str) -> bool:
        """Whether kohya reads that setting, with the others as they are."""
        kind = self.values["network_type"]
        if kind in ("loha", "lokr") and key in _LORA_ONLY:
            if is_set(self.given[key]):
                self.notes.append(f"{key} is left out: not for {kind} here.")
            return False
        if key == "multires_noise_discount":
            return is_set(self.given.get("multires_noise_iterations"))
        return not (key in ("conv_dim", "conv_alpha") and kind == "lora") and not (key == "factor" and kind != "lokr")

    def _rates(self) -> None:
        """sd-scripts: what is not given is the learning rate; kohya_ss: 0 for one of them does not train that part."""
        common = self.given["learning_rate"]
        unet, text = (self.given[key] for key in ("unet_lr", "text_encoder_lr"))
        text = text[0] if isinstance(text, list) and text else text
        if not self.is_gui:
            unet, text = (common if value in ("", []) else value for value in (unet, text))
        elif not is_set(unet) and not is_set(text):
            unet = text = common
        if is_set(self.given.get("network_train_unet_only")):
            text = 0
        if is_set(self.given.get("network_train_text_encoder_only")):
            unet = 0
        self._set("unet_lr", as_kind(unet or 0, float), "unet_lr")
        self.values["train_text_encoder"] = is_set(text)
        if is_set(text):
            self._set("text_encoder_lr", as_kind(text, float), "text_encoder_lr")

    def _steps(self) -> None:
        epochs = int(self._number("max_train_epochs") or self._number("epoch"))
        steps = int(self._number("max_train_steps"))
        self.values["repeats_of"] = "picture"  # as kohya's folders have it
        if steps > 0 and not is_set(self.given.get("max_train_epochs")):
            most = min(epochs or 10, 100, steps)
            epochs = next(n for n in range(most, 0, -1) if steps % n == 0)
            repeats = steps // epochs * self._value("batch_size")
            self._set("repeats", repeats, "max_train_steps")
            self.notes.append(f"max_train_steps: {steps} steps are {repeats} repeats x {epochs} epochs here.")
        else:
            repeats = recipe.DEFAULTS["repeats"]
            self.notes.append(f"kohya has the repeats in its folder's name: they are {repeats} here.")
        if epochs:
            self._set("epochs", epochs, "epoch")

    def _schedule(self) -> None:
        name = str(self.given["lr_scheduler"])
        if name in keys.SCHEDULERS:
            self.values["lr_scheduler"] = keys.SCHEDULERS[name]
        else:
            self.notes.append(f"The schedule {name[:40]} is not here: it is {recipe.DEFAULTS['lr_scheduler']} instead.")
        steps = self._number("lr_warmup_steps")
        share = plain(self._number("lr_warmup") / 100)
        if 0 < steps < 1:
            share = steps
        elif steps:
            total = -(-self._value("repeats") // self._value("batch_size")) * self._value("epochs")
            share = plain(min(1.0, steps / total))
            self.notes.append(f"lr_warmup_steps: {steps:g} are a share of {share:.4g} of {total} steps here.")
        self._set("lr_warmup", float(share), "lr_warmup")

    def _value(self, name: str) -> Any:
        return self.values.get(name, recipe.DEFAULTS[name])

    def _optimizer(self) -> None:
        given = str(self.given["optimizer"])
        name, how = keys.OPTIMIZERS.get(given.lower(), ("adamw", "AdamW instead"))
        if how:
            self.notes.append(f"The optimizer {given[:60]} is not here: {how}.")
        self.values["optimizer"] = name
        self.values["weight_decay"] = keys.WEIGHT_DECAY[name]
        if given.lower() in keys.OPTIMIZERS:
            self._optimizer_args(self.given.get("optimizer_args"))

    def _optimizer_args(self, given: Any) -> None:
        try:
            found = {key: literal(text) for key, text in pairs(given).items()}
        except ValueError:
            self.notes.append(f"optimizer_args can't be read and are left out: {str(given)[:100]}")
            return
        if "weight_decay" in found:
            self._set("weight_decay", as_kind(found.pop("weight_decay"), float), "weight_decay")
        if found.pop("relative_step", False):
            self.notes.append("relative_step is left out: the rate is the schedule's here.")
        self.values["optimizer_args"] = " ".join(
            f"{key}={value!r}".replace(" ", "") if not isinstance(value, str) else f'{key}="{value!r}"'
            for key, value in found.items()
        )

    def _picture(self) -> None:
        self.values["crop"] = "aspect" if is_set(self.given["enable_bucket"]) else "square"
        sides = str(self.given["max_resolution"]).replace(" ", "").strip("[]()").split(",")
        if len(set(sides)) > 1:
            self.notes.append(f"max_resolution is {','.join(sides)[:30]}: only square sizes are here.")
        else:
            self._set("resolution", as_kind(sides[0], int), "max_resolution")
        self.values["mask"] = "auto" if is_set(self.given["masked_loss"]) else "none"

    def _blocks(self) -> None:
        down, mid, up = (self.given.get(f"{side}_lr_weight") for side in ("down", "mid", "up"))
        if down is mid is up is None:
            return
        if self.values["network_type"] in ("loha", "lokr"):
            self.notes.append("The blocks' weights are left out: kohya has them for LoRA only.")
            return
        try:
            self.values["block_weights"] = block_weights(down, mid, up, self._number("block_lr_zero_threshold"))
        except ValueError:
            self.notes.append("The blocks' weights can't be read and are left out.")

    def _output(self) -> None:
        precision = str(self.given["save_precision"])
        if precision == "bf16":
            self.notes.append("save_precision bf16: it is fp16 here.")
        self.values["save_precision"] = "fp32" if precision.startswith("float") else "fp16"
        self.values["keep_epochs"] = self._number("save_every_n_epochs", 1) > 0

    def _what_is_left(self) -> None:
        is_lycoris = str(self.given["LoRA_type"]).startswith("LyCORIS")
        for key, reason in keys.CANNOT.items():
            value = self.file.get(key) if is_lycoris or key not in keys.LYCORIS_ONLY else None
            if is_set(value) and value not in keys.OFF.get(key, ()):
                self.notes.append(f"{key} is left out: {reason}.")
        others = sorted(set(self.file) - keys.READ - set(keys.CANNOT))
        useless = [key for key in others if key in keys.NOT_NEEDED or key.startswith(keys.OTHER_MODELS)]
        unknown = [key for key in others if key not in useless]
        if unknown:
            self.notes.append(f"Unknown and left out: {', '.join(unknown)[:600]}.")
        useless = [key for key in useless if is_set(self.file[key])]
        if useless:
            self.notes.append(f"Not needed here: {', '.join(useless)[:600]}.")


_LORA_ONLY = ("network_dropout", "rank_dropout", "module_dropout", "scale_weight_norms")
