"""Tiny vision-language models in folders as they lie on the hub: real classes, random weights, a small vocabulary.

The JSON files are written by hand, as the versions of transformers write different ones; only weights and config.json
are transformers' own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from distill.captions.portrait import PROMPT
from distill.captions.vlm.families import FAMILIES, Family, family_of
from distill.captions.vlm.loading import load_preparer
from tests.models.tiny_vlm_kinds import KINDS, write_json

WORDS = [PROMPT, "red blue hair: long hair, smile, a woman with red hair. a woman with blue hair.", "USER: ASSISTANT:"]

LESSONS = {"red": "subject: woman\nhair: red, long", "blue": "subject: man\nhair: blue, short"}
"""What a taught model says of a picture that is all of that colour."""

_SPECIAL = {"special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}

Lesson = Callable[[Any, Path], None]  # changes a model; its folder has all but the weights


def has(name: str) -> bool:
    """Whether this transformers has the family's class, by the class itself."""
    return hasattr(transformers, _family(name).model_class)


def build(name: str, folder: Path, *, shards: int = 1, lesson: Lesson | None = None) -> Path:
    """A folder with a model of that family; `shards` files of weights, with an index when there are several."""
    kind = KINDS[name]
    folder.mkdir(parents=True, exist_ok=True)
    ids = _write_tokenizer(folder, kind.special, kind.tokenizer_class)
    config = kind.make(folder, ids, len(ids))
    generation = (folder / "generation_config.json").read_bytes()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, _family(name).model_class)(config).eval()
        config.save_pretrained(str(folder))
        if lesson is not None:
            lesson(model, folder)
    config.torch_dtype = "bfloat16"  # as most folders on the hub say
    model = model.to(torch.bfloat16)
    size = sum(p.numel() for p in model.parameters()) * 2
    model.save_pretrained(str(folder), max_shard_size=size // shards + size // 8 if shards > 1 else "5GB")
    (folder / "generation_config.json").write_bytes(generation)  # `save_pretrained` writes its own
    return folder


def learn_colours(model: Any, folder: Path) -> None:
    """Overfit LESSONS in some seconds."""
    examples = [_example(model, folder, colour, answer) for colour, answer in LESSONS.items()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    for _ in range(200):
        losses = [model(**example).loss for example in examples]
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if max(losses) < 0.04:
            return
    raise AssertionError("the tiny model did not learn")


def forget_all_but_the_last_word(model: Any, folder: Path) -> None:
    """Each word depends on the one before it alone, so that the answer goes round in a circle, for ever."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weights.zero_()


def _example(model: Any, folder: Path, colour: str, answer: str) -> dict[str, torch.Tensor]:
    family = family_of(folder)
    prepare = load_preparer(folder, family)
    inputs = prepare(Image.new("RGB", (64, 64), colour), model)
    end = prepare.tokenizer.convert_tokens_to_ids(KINDS[family.name].end)
    said = torch.tensor([[*prepare.tokenizer(answer, add_special_tokens=False)["input_ids"], end]])
    if model.config.is_encoder_decoder:
        return {**inputs, "labels": said}
    asked = inputs["input_ids"]
    inputs["labels"] = torch.cat([torch.full_like(asked, -100), said], 1)  # only the answer is learned
    inputs["input_ids"] = torch.cat([asked, said], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "image_grid_thw" in inputs and "mm_token_type_ids" not in inputs:  # early Qwen2-VL only does this to generate
        grid, mask = inputs["image_grid_thw"], inputs["attention_mask"]
        inner = model if hasattr(model, "get_rope_index") else model.model
        inputs["position_ids"] = inner.get_rope_index(inputs["input_ids"], grid, None, mask)[0]
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(said).int()], 1)
    return inputs


def _family(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def _write_tokenizer(folder: Path, special: list[str], tokenizer_class: str) -> dict[str, int]:
    """tokenizer.json and its settings; the ids of all tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    bos, eos, pad = special[:3]
    if tokenizer_class == "PreTrainedTokenizerFast":  # Llama's put the beginning there themselves
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    write_json(folder / "vocab.json", vocabulary["vocab"])
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in vocabulary["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]), encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(i): {**_SPECIAL, "content": token} for i, token in enumerate(special)},
            "additional_special_tokens": special[3:],
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": pad,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 8192,
            "tokenizer_class": tokenizer_class,
        },
    )
    write_json(folder / "special_tokens_map.json", {"bos_token": bos, "eos_token": eos, "pad_token": pad})
    return tokenizer.get_vocab()
