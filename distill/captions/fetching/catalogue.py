"""Captioners that can be fetched: where they are, at which commit, how large and under which licence.

Only weights as safetensors, only licences that allow commercial use. A commit is written down only when it was seen
in use elsewhere; where there is none, the download asks the hub which commit `ref` is, and keeps to that one.
"""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import CaptionError

TEXT = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja", "tokenizer.model", "LICENSE*")
TAGGER = ("model.safetensors", "config.json", "selected_tags.csv")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One captioner on the hub."""

    name: str  # of its folder, and of the option
    label: str
    repository: str
    revision: str = ""  # a commit; "" when none is known for certain
    ref: str = "main"  # what is asked for its commit when `revision` is ""
    licence: str
    size_mib: int  # to download
    kind: str = "vlm"  # or "tagger"
    family: str  # config.json's model_type; "wd" for the tagger
    files: tuple[str, ...] = TEXT  # patterns of the names to fetch; folders are not entered


MODELS: tuple[Model, ...] = (
    Model(
        name="blip-base",
        label="BLIP base: one short sentence",
        repository="Salesforce/blip-image-captioning-base",
        ref="refs/pr/38",  # the main branch has pickled weights only
        licence="BSD-3-Clause",
        size_mib=945,
        family="blip",
    ),
    Model(
        name="blip-large",
        label="BLIP large: one short sentence",
        repository="Salesforce/blip-image-captioning-large",
        revision="353689b859fcf0523410b1806dace5fb46ecdf41",
        licence="BSD-3-Clause",
        size_mib=1793,
        family="blip",
    ),
    Model(
        name="smolvlm-256m",
        label="SmolVLM 256M: labelled tags, small and quick",
        repository="HuggingFaceTB/SmolVLM-256M-Instruct",
        revision="7e3e67edbbed1bf9888184d9df282b700a323964",
        licence="Apache-2.0",
        size_mib=494,
        family="idefics3",
    ),
    Model(
        name="smolvlm-500m",
        label="SmolVLM 500M: labelled tags",
        repository="HuggingFaceTB/SmolVLM-500M-Instruct",
        revision="a7da5b986cb59b408707209984f360a5f4ad7e47",
        licence="Apache-2.0",
        size_mib=973,
        family="idefics3",
    ),
    Model(
        name="qwen2-vl-2b",
        label="Qwen2-VL 2B: labelled tags, good",
        repository="Qwen/Qwen2-VL-2B-Instruct",
        revision="895c3a49bc3fa70a340399125c650a463535e71c",
        licence="Apache-2.0",
        size_mib=4225,
        family="qwen2_vl",
    ),
    Model(
        name="qwen3-vl-2b",
        label="Qwen3-VL 2B: labelled tags, good",
        repository="Qwen/Qwen3-VL-2B-Instruct",
        revision="89644892e4d85e24eaac8bacfd4f463576704203",
        licence="Apache-2.0",
        size_mib=4070,
        family="qwen3_vl",
    ),
    Model(
        name="qwen3-vl-4b",
        label="Qwen3-VL 4B: labelled tags, best",
        repository="Qwen/Qwen3-VL-4B-Instruct",
        revision="ebb281ec70b05090aa6165b016eac8ec08e71b17",
        licence="Apache-2.0",
        size_mib=8476,
        family="qwen3_vl",
    ),
    Model(
        name="florence-2-base",
        label="Florence-2 base: one paragraph, small",
        repository="florence-community/Florence-2-base",
        revision="00921df66db728a9ceb750f5eca43e5c203a2051",
        licence="MIT",
        size_mib=446,
        family="florence2",
    ),
    Model(
        name="joycaption",
        label="JoyCaption Beta One: long captions, large",
        repository="fancyfeast/llama-joycaption-beta-one-hf-llava",
        revision="ebf414ea497a020da0f82df3913e5b6cb8e9663a",
        licence="none stated; built on Llama 3.1 (Llama 3.1 Community License)",
        size_mib=16200,
        family="llava",
    ),
    Model(
        name="wd-vit-v3",
        label="WD ViT v3: booru tags, made for drawings",
        repository="SmilingWolf/wd-vit-tagger-v3",
        licence="Apache-2.0",
        size_mib=362,
        kind="tagger",
        family="wd",
        files=TAGGER,
    ),
)


def model(name: str) -> Model:
    """The model of that name. Raises CaptionError."""
    for known in MODELS:
        if known.name == name:
            return known
    raise CaptionError(f"There is no captioner {name!r} to fetch.", f"Known: {', '.join(m.name for m in MODELS)}.")


def version(text: str) -> tuple[int, int]:
    """The first two numbers of a version, "4.46.1" -> (4, 46); (0, 0) for "" and what is none."""
    numbers = [int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
