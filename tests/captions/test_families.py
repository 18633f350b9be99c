"""Which kinds of models can be run here: the cheap answers are held against transformers itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.captions.portrait import PROMPT
from distill.captions.vlm import families
from distill.captions.vlm.families import FAMILIES, Family, family_of, problem
from distill.errors import CaptionError
from tests.models import tiny_vlms

BY_NAME = {family.name: family for family in FAMILIES}


def folder_with(place: Path, config: dict[str, Any], name: str = "model") -> Path:
    folder = place / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_problem_is_told_exactly_when_transformers_lacks_the_class(family: Family) -> None:
    assert (problem(family) == "") == tiny_vlms.has(family.name)


def test_asking_for_problems_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom distill.captions.vlm.families import FAMILIES, problem\n"
        "for family in FAMILIES: problem(family)\n"
        "print(*({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_problem_names_version_and_kind() -> None:
    newcomer = Family("cogvlm", "CogVLM", "cogvlm", "CogVLMForConditionalGeneration", PROMPT, "9.9")
    assert "does not know CogVLM (it came with 9.9)" in problem(newcomer)


@pytest.mark.parametrize(
    ("transformers", "torch", "name", "said"),
    [
        ("4.57.6", "2.1.2+cu121", "qwen2_vl", "needs torch 2.2 or newer; this program has 2.1.2"),
        ("4.55.4", "2.1.2+cu121", "qwen2_vl", "does not run with torch 2.1.2"),
        ("4.51.3", "2.1.2+cu121", "qwen2_vl", ""),
        ("4.57.6", "2.3.1+cu121", "qwen2_vl", ""),
        ("5.0.0", "2.3.1", "llava", "needs torch 2.4 or newer"),
        ("5.1", "2.10.0", "llava", ""),
    ],
)
def test_torch_can_be_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transformers: str, torch: str, name: str, said: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / f"modeling_{name}.py").touch()
    monkeypatch.setattr(families, "_transformers", lambda: (str(tmp_path), transformers))
    monkeypatch.setattr(families, "_version", lambda package: torch)
    found = problem(BY_NAME[name])
    assert said in found if said else found == ""


@pytest.mark.parametrize(
    ("config", "folder", "name"),
    [
        ({"model_type": "blip"}, "any", "blip"),
        ({"model_type": "idefics3"}, "SmolVLM-500M-Instruct", "idefics3"),
        ({"model_type": "smolvlm"}, "SmolVLM2", "smolvlm"),
        ({"model_type": "qwen2_5_vl"}, "Qwen", "qwen2_5_vl"),
        ({"model_type": "florence2"}, "Florence-2-base", "florence2"),
        ({"model_type": "florence2"}, "Florence-2-large-PromptGen-v2.0", "promptgen"),
        ({"model_type": "florence2", "_name_or_path": "MiaoshouAI/Florence-2-base-PromptGen"}, "f", "promptgen"),
        ({"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}}, "llava-1.5", "llava"),
        ({"model_type": "llava"}, "llama-joycaption-beta-one-hf-llava", "joycaption"),
        (
            {
                "model_type": "llava",
                "vision_config": {"model_type": "siglip_vision_model"},
                "text_config": {"model_type": "llama"},
            },
            "renamed",
            "joycaption",
        ),
    ],
)
def test_the_kind_is_read_from_the_folder(tmp_path: Path, config: dict[str, Any], folder: str, name: str) -> None:
    assert family_of(folder_with(tmp_path, config, folder)).name == name


def test_a_readme_tells_promptgen_too(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"model_type": "florence2"})
    (folder / "README.md").write_text("# Florence-2-base-PromptGen v2.0")
    assert family_of(folder).name == "promptgen"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "cogvlm"}, "of the kind 'cogvlm'. These can be run: BLIP, "),
        ({}, "of the kind None"),
        ({"model_type": "florence2", "text_config": {"model_type": "florence2_language"}}, "brings its own code"),
        ({"model_type": "qwen2_vl", "quantization_config": {"quant_method": "awq"}}, "quantized (awq)"),
        ({"model_type": "idefics3", "quantization": {"bits": 8}}, "quantized, which"),
    ],
)
def test_what_cant_be_run_is_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    folder = folder_with(tmp_path, config)
    with pytest.raises(CaptionError) as caught:
        family_of(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_models_that_follow_instructions_get_the_structured_question() -> None:
    assert {family.name for family in FAMILIES if family.instruct} == {
        "idefics3",
        "smolvlm",
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "llava",
    }
