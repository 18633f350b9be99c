"""The kinds of captioning models that can be run, how each is asked, and with which packages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.captions.portrait import PROMPT
from distill.captions.vlm.folder import read_config
from distill.errors import CaptionError


@dataclass(frozen=True)
class Family:
    """One kind of model."""

    name: str
    title: str  # for messages
    kind: str  # config.json's model_type, and the name of transformers' module
    model_class: str
    prompt: str  # what it is asked; "" when it takes no words
    since: str  # the first transformers that has it
    system: str = ""

    @property
    def instruct(self) -> bool:
        """Whether it follows instructions, and so gets the structured question."""
        return self.prompt == PROMPT


# The wording is the one that it was trained on: the mode that its makers call most useful beside the long one, and
# that tells of watermarks (JoyCaption Beta One's README, "How to Prompt JoyCaption"). Its tag lists tend to loop.
_JOY = (
    "Write a straightforward caption for this image. Begin with the main subject and medium. Mention pivotal "
    "elements—people, objects, scenery—using confident, definite language. Focus on concrete details like color, "
    "shape, texture, and spatial relationships. Show how elements interact. Omit mood and speculative wording. If text "
    "is present, quote it exactly. Note any watermarks, signatures, or compression artifacts. Never mention what's "
    "absent, resolution, or unobservable details. Vary your sentence structure and keep the description concise, "
    "without starting with “This image is…” or similar phrasing."
)
# What "<DETAILED_CAPTION>" stands for (transformers' Florence2Processor); PromptGen's own task goes in as it is.
_FLORENCE = "Describe in detail what is shown in the image."
_PROMPTGEN = "<GENERATE_TAGS>"

FAMILIES: tuple[Family, ...] = (
    Family("blip", "BLIP", "blip", "BlipForConditionalGeneration", "", "4.26"),
    Family("idefics3", "Idefics3 / SmolVLM", "idefics3", "Idefics3ForConditionalGeneration", PROMPT, "4.46"),
    Family("smolvlm", "SmolVLM2", "smolvlm", "SmolVLMForConditionalGeneration", PROMPT, "4.50"),
    Family("qwen2_vl", "Qwen2-VL", "qwen2_vl", "Qwen2VLForConditionalGeneration", PROMPT, "4.45"),
    Family("qwen2_5_vl", "Qwen2.5-VL", "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", PROMPT, "4.49"),
    Family("qwen3_vl", "Qwen3-VL", "qwen3_vl", "Qwen3VLForConditionalGeneration", PROMPT, "4.57"),
    Family("florence2", "Florence-2", "florence2", "Florence2ForConditionalGeneration", _FLORENCE, "4.56"),
    Family("promptgen", "Florence-2 PromptGen", "florence2", "Florence2ForConditionalGeneration", _PROMPTGEN, "4.56"),
    Family("llava", "LLaVA", "llava", "LlavaForConditionalGeneration", PROMPT, "4.36"),
    Family(
        "joycaption",
        "JoyCaption",
        "llava",
        "LlavaForConditionalGeneration",
        _JOY,
        "4.36",
        system="You are a helpful image captioner.",
    ),
)
_BY_NAME = {family.name: family for family in FAMILIES}

_NEEDS_TORCH = ((5, 0), (2, 4)), ((4, 57), (2, 2))
"""From which transformers on which torch is needed: 5 says so itself, 4.57.6 breaks on import with torch 2.1.2."""


def family_of(folder: Path) -> Family:
    """The kind of model in that folder, from its config.json. Raises CaptionError for kinds that can't be run."""
    config = read_config(folder)
    kind = config.get("model_type")
    families = [family for family in FAMILIES if family.kind == kind]
    if not families:
        titles = ", ".join(family.title for family in FAMILIES)
        raise CaptionError(f"The model in {folder} is of the kind {kind!r}.", f"These can be run: {titles}.")
    _check_plain(folder, config, families[0])
    if kind == "florence2":
        return _BY_NAME["promptgen" if _is_promptgen(folder, config) else "florence2"]
    if kind == "llava":
        return _BY_NAME["joycaption" if _is_joycaption(folder, config) else "llava"]
    return families[0]


def problem(family: Family) -> str:
    """Why the installed packages can't run it, one sentence; "" when they can. Imports nothing."""
    place, installed = _transformers()
    if not place:
        return "The package transformers is not installed in this program."
    if not (Path(place) / family.kind / f"modeling_{family.kind}.py").is_file():
        return f"transformers {installed} of this program does not know {family.title} (it came with {family.since})."
    torch = _version("torch")
    for since, needed in _NEEDS_TORCH:
        if _numbers(installed) >= since and torch and _numbers(torch) < needed:
            wanted = ".".join(map(str, needed))
            return f"transformers {installed} needs torch {wanted} or newer; this program has {torch}."
    if family.name == "qwen2_vl" and _numbers(installed) >= (4, 55) and torch and _numbers(torch) < (2, 2):
        return f"Qwen2-VL in transformers {installed} does not run with torch {torch} of this program."
    return ""


def _check_plain(folder: Path, config: dict[str, Any], family: Family) -> None:
    """Weights that need other code than transformers' own are refused."""
    if family.kind == "florence2" and config.get("text_config", {}).get("model_type") == "florence2_language":
        raise CaptionError(
            f"The Florence-2 in {folder} is the old form that brings its own code, which is never run.",
            "Get a form for transformers 4.56 and newer, for example from florence-community.",
        )
    quantization = config.get("quantization_config") or config.get("quantization")
    if quantization:
        method = quantization.get("quant_method", "") if isinstance(quantization, dict) else ""
        said = f" ({method})" if method else ""
        raise CaptionError(
            f"The weights in {folder} are quantized{said}, which needs packages that are not part of Distill.",
            "Get the plain form of this model, or run it in an endpoint (Ollama, LM Studio, llama.cpp).",
        )


def _is_promptgen(folder: Path, config: dict[str, Any]) -> bool:
    """Only names tell it from Florence-2: architecture and processor are the same."""
    names = [folder.resolve().name, str(config.get("_name_or_path", ""))]
    if (folder / "README.md").is_file():
        names.append((folder / "README.md").read_text(encoding="utf-8", errors="replace"))
    return any("promptgen" in name.lower() for name in names)


def _is_joycaption(folder: Path, config: dict[str, Any]) -> bool:
    """By name, or by its pair of towers: LLaVA itself looks through CLIP, JoyCaption through SigLIP."""
    towers = [config.get(part, {}).get("model_type") for part in ("vision_config", "text_config")]
    return "joycaption" in folder.resolve().name.lower() or towers == ["siglip_vision_model", "llama"]


@cache
def _transformers() -> tuple[str, str]:
    """transformers' folder of models and its version, ("", "") when it is missing."""
    spec = find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return "", ""
    return str(Path(spec.submodule_search_locations[0]) / "models"), _version("transformers") or "of unknown version"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    """(4, 46) of "4.46.1"; (9999,) of what is no version, so that no limit holds it back."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (9999,)
