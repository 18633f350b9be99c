"""The pocket captioner's shape, vocabulary and files, written so that transformers 4.30 to 5 load them."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.pocket import world

if TYPE_CHECKING:
    import torch

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZE_PX = 128


@dataclass(frozen=True)
class Vocabulary:
    """A WordPiece vocabulary small enough to read: the world's words, punctuation, letters and digits."""

    words: tuple[str, ...]

    @classmethod
    def of_the_world(cls) -> Vocabulary:
        """Every word that a caption can hold, and enough pieces to spell any other."""
        said = sorted({word for tag in world.tag_meanings() for word in re.findall(r"\w+", tag)})
        signs = string.ascii_lowercase + string.digits
        pieces = [sign for sign in signs] + [f"##{sign}" for sign in signs]
        return cls((*SPECIAL, ",", "-", *said, *(piece for piece in pieces if piece not in said)))

    @property
    def pad(self) -> int:
        """Id of the padding token."""
        return self.words.index("[PAD]")

    def encode(self, caption: str) -> list[int]:
        """[DEC] words [SEP], as BLIP's decoder is trained."""
        ids = {word: i for i, word in enumerate(self.words)}
        return [ids["[DEC]"], *(ids[word] for word in re.findall(r"\w+|[,-]", caption)), ids["[SEP]"]]

    def decode(self, row: list[int]) -> str:
        """A generated row as text without special tokens; only for whole words."""
        words = [self.words[i] for i in row if self.words[i] not in SPECIAL]
        return " ".join(words).replace(" ,", ",").replace(" - ", "-")


def untrained(vocab_size: int) -> Any:
    """A BlipForConditionalGeneration of about 1.6 M parameters."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    text = {
        "vocab_size": vocab_size,
        "hidden_size": 128,
        "encoder_hidden_size": 128,
        "intermediate_size": 256,
        "projection_dim": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "pad_token_id": SPECIAL.index("[PAD]"),
        "bos_token_id": SPECIAL.index("[DEC]"),
        "eos_token_id": SPECIAL.index("[SEP]"),
        "sep_token_id": SPECIAL.index("[SEP]"),
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "projection_dim": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE_PX,
        "patch_size": 16,
        "initializer_range": 0.02,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=128, image_text_hidden_size=128)
    return BlipForConditionalGeneration(config)


def normalised(levels: torch.Tensor) -> torch.Tensor:
    """Levels 0..255 (B, h, w, 3) to BLIP's pixel values (B, 3, h, w)."""
    import torch

    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((levels.clamp(0, 255) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def write(model: Any, vocabulary: Vocabulary, folder: Path) -> None:
    """Write the whole folder: weights in fp16, config, vocabulary, preprocessor."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    # transformers 4.30 does not tie the decoder's weights, so each name is written out.
    weights = {
        name: value.detach().to("cpu", torch.float16 if value.is_floating_point() else value.dtype).clone()
        for name, value in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(vocabulary.words) + "\n", encoding="utf-8")
    _write_json(folder / "config.json", _config(model))
    _write_json(folder / "preprocessor_config.json", _PREPROCESSOR)
    _write_json(folder / "tokenizer_config.json", _TOKENIZER)
    _write_json(folder / "special_tokens_map.json", _SPECIAL_TOKENS)


def _config(model: Any) -> dict[str, Any]:
    config: dict[str, Any] = model.config.to_diff_dict()
    config["architectures"] = ["BlipForConditionalGeneration"]
    for part in (config, config["text_config"], config["vision_config"]):
        for name in ("transformers_version", "dtype", "torch_dtype", "_name_or_path"):
            part.pop(name, None)
    config["torch_dtype"] = "float32"
    return config


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


_SPECIAL_TOKENS = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
_TOKENIZER = {**_SPECIAL_TOKENS, "do_lower_case": True, "model_max_length": 64, "tokenizer_class": "BertTokenizer"}
_PREPROCESSOR = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(MEAN),
    "image_processor_type": "BlipImageProcessor",
    "image_std": list(STD),
    "processor_class": "BlipProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": SIZE_PX, "width": SIZE_PX},
}
