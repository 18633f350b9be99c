"""What goes into a vision-language model, held against transformers' own processors where they work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from distill.captions.vlm.captioner import VlmCaptioner
from distill.captions.vlm.families import family_of
from distill.captions.vlm.inputs import MAX_PX, Preparer, fitted, read_template
from distill.captions.vlm.loading import load_preparer
from distill.errors import CaptionError
from tests.models import tiny_vlms
from tests.models.tiny_vlm_kinds import KINDS

Folders = Callable[..., Path]
RED = Image.new("RGB", (64, 64), "red")

every_kind = pytest.mark.parametrize("name", sorted(KINDS))
needs_llava = pytest.mark.skipif(not tiny_vlms.has("llava"), reason="this transformers has no LLaVA")


@every_kind
@pytest.mark.slow
def test_inputs_are_those_of_transformers_own_processor(folders: Folders, name: str) -> None:
    """Where its processor works with these packages; it enlarges Idefics3's pictures, so a big one is given."""
    import transformers

    folder = folders(name)
    try:
        processor = transformers.AutoProcessor.from_pretrained(str(folder), local_files_only=True)
    except (ImportError, ValueError, TypeError, AttributeError) as error:
        pytest.skip(f"its processor does not load here: {error}")
    if name == "joycaption" and not hasattr(processor, "num_additional_image_tokens"):
        pytest.skip("this processor counts one token too many for SigLIP")
    picture = Image.effect_noise((300, 200), 60).convert("RGB")
    prepare = load_preparer(folder, family_of(folder))
    ours = prepare(picture, VlmCaptioner(folder)._model)
    theirs = processor(text=asked_by_hand(prepare), images=[picture], return_tensors="pt")
    for key in ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "mm_token_type_ids"):
        if key in ours or (key in theirs and key != "mm_token_type_ids"):
            assert torch.equal(ours[key], theirs[key]), key


@every_kind
@pytest.mark.slow
def test_words_are_cut_as_tokenizer_json_says(folders: Folders, name: str) -> None:
    """transformers 5 builds Qwen's and GPT-2's tokenizers by its own rules, which need not be this folder's."""
    folder = folders(name)
    words = "12 red hats;  a long-haired woman\n"
    true = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(words, add_special_tokens=False).ids
    assert load_preparer(folder, family_of(folder)).tokenizer(words, add_special_tokens=False)["input_ids"] == true


def asked_by_hand(prepare: Preparer) -> str:
    """What the models' cards give to the processor, with one picture in it."""
    family = prepare.family
    if family.kind == "florence2":
        return family.prompt
    if family.system:
        chat = [{"role": "system", "content": family.system}, {"role": "user", "content": family.prompt}]
    else:
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": family.prompt}]}]
    text = prepare.tokenizer.apply_chat_template(
        chat, chat_template=prepare.template, tokenize=False, add_generation_prompt=True
    )
    return str(text).removeprefix(prepare.tokenizer.bos_token if family.system else "")  # the tokenizer writes it again


@needs_llava
def test_the_chat_template_lies_in_one_of_three_places(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("llava"), tmp_path / "copy"))
    model = VlmCaptioner(folder)._model
    family = family_of(folder)

    def asked() -> str:
        prepare = load_preparer(folder, family)
        return str(prepare.tokenizer.decode(prepare(RED, model)["input_ids"][0]))

    template = "It is late. " + read_template(folder, None)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    first = asked()
    assert first.startswith("<s>It is late. USER: <image><image>")
    (folder / "chat_template.json").unlink()
    (folder / "chat_template.jinja").write_text(template)
    assert asked() == first
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    assert asked() == first
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert asked() != first
    assert asked().startswith("<s>USER: <image><image>")
    assert asked().endswith(" ASSISTANT:")


@pytest.mark.slow
def test_a_model_that_has_to_have_a_chat_template(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("idefics3"), tmp_path / "copy"))
    (folder / "chat_template.json").write_text("{}")
    with VlmCaptioner(folder) as captioner, pytest.raises(CaptionError, match="no chat template"):
        captioner.say(RED)


def test_pictures_are_made_small_but_not_too_small() -> None:
    assert fitted(Image.new("RGBA", (4000, 3000))).size == (MAX_PX, 768)
    assert fitted(Image.new("RGBA", (4000, 3000))).mode == "RGB"
    assert fitted(Image.new("L", (8, 8))).size == (56, 56)
    assert fitted(Image.new("RGB", (4000, 30))).size == (MAX_PX, 56)
    same = Image.new("RGB", (512, 640))
    assert fitted(same).size == same.size
