"""What each kind of vision-language model has in its folder: config, preprocessor, chat, tokens; all of it tiny."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from tests.models.chat_templates import JOY_CHAT, JOY_IMAGE, LLAVA_CHAT, QWEN_CHAT, SMOLVLM_CHAT

TILE = 56  # of Idefics3's pictures, in pixels
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "initializer_range": 0.2,
}
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_NORMAL = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_resize": True, "resample": 3}
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _idefics3(folder: Path, ids: dict[str, int], vocabulary: int, kind: str = "Idefics3") -> Any:
    size = {"size": {"longest_edge": 4 * TILE}, "max_image_size": {"longest_edge": TILE}}
    names = {"image_processor_type": f"{kind}ImageProcessor", "processor_class": f"{kind}Processor"}
    more = {"do_convert_rgb": True, "do_image_splitting": True, "do_pad": True}
    write_json(folder / "preprocessor_config.json", {**_NORMAL, **_HALVES, **size, **names, **more, "resample": 1})
    write_json(folder / "processor_config.json", {"image_seq_len": 4, "processor_class": f"{kind}Processor"})
    write_json(folder / "chat_template.json", {"chat_template": SMOLVLM_CHAT})
    eos = ids["<end_of_utterance>"]
    write_json(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": eos, "pad_token_id": 2})
    return getattr(transformers, f"{kind}Config")(
        text_config={**_TEXT, "model_type": "llama", "vocab_size": vocabulary, "pad_token_id": 2},
        vision_config={**_VISION, "image_size": TILE, "patch_size": 7, "initializer_range": 0.2},
        scale_factor=4,
        image_token_id=ids["<image>"],
        pad_token_id=2,
        bos_token_id=0,
        eos_token_id=eos,
        tie_word_embeddings=False,
    )


def _smolvlm(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    return _idefics3(folder, ids, vocabulary, "SmolVLM")


def _qwen2(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "spatial_patch_size": 14}
    return _qwen(folder, ids, vocabulary, "Qwen2VL", vision, 14)


def _qwen2_5(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 4, "intermediate_size": 64}
    return _qwen(folder, ids, vocabulary, "Qwen2_5_VL", {**vision, "fullatt_block_indexes": [1]}, 14)


def _qwen3(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 4, "intermediate_size": 64}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    return _qwen(folder, ids, vocabulary, "Qwen3VL", vision, 16)


def _qwen(folder: Path, ids: dict[str, int], vocabulary: int, kind: str, vision: dict[str, Any], patch: int) -> Any:
    newer = kind == "Qwen3VL"
    mean_std = _HALVES if newer else {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.27] * 3}
    sizes: dict[str, Any] = {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "size": {"shortest_edge": 3136, "longest_edge": 12845056},
    }
    sizes |= {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2}
    names = {
        "image_processor_type": f"Qwen2VLImageProcessor{'Fast' if newer else ''}",
        "processor_class": f"{kind}Processor",
    }
    write_json(folder / "preprocessor_config.json", {**_NORMAL, **mean_std, **sizes, **names})
    write_json(folder / "chat_template.json", {"chat_template": QWEN_CHAT})
    sampling = {"do_sample": True, "temperature": 0.01, "top_p": 0.001, "top_k": 1, "repetition_penalty": 1.0}
    ends = {"bos_token_id": 0, "eos_token_id": [ids["<|im_end|>"], 0], "pad_token_id": 0}
    write_json(folder / "generation_config.json", {**ends, **sampling})
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": [1, 1, 2]}
    text = {**_TEXT, "vocab_size": vocabulary, "rope_scaling": rope, "rope_theta": 1000000.0}
    if newer:
        text["head_dim"] = 8
    shared = {
        "vision_config": {**vision, "patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2},
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }
    config_class = getattr(transformers, f"{kind}Config")
    if "text_config" not in getattr(config_class, "sub_configs", {}):  # Qwen2-VL before 4.52 has it all in one
        return config_class(**text, **shared)
    return config_class(text_config={**text, "tie_word_embeddings": True}, **shared)


def _llava(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    edge = 42
    write_json(
        folder / "preprocessor_config.json",
        {
            **_NORMAL,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "do_center_crop": True,
            "do_convert_rgb": True,
            "crop_size": {"height": edge, "width": edge},
            "size": {"shortest_edge": edge},
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default",
        },
    )
    write_json(folder / "chat_template.json", {"chat_template": LLAVA_CHAT})
    write_json(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2})
    vision = {**_VISION, "model_type": "clip_vision_model", "image_size": edge, "patch_size": 14, "projection_dim": 32}
    return _llava_config(ids["<image>"], vocabulary, vision, "default", 9)


def _joycaption(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    edge = 42
    size = {"size": {"height": edge, "width": edge}, "image_processor_type": "SiglipImageProcessor"}
    write_json(folder / "preprocessor_config.json", {**_NORMAL, **_HALVES, **size, "processor_class": "LlavaProcessor"})
    processor = {"image_token": JOY_IMAGE, "patch_size": 14, "vision_feature_select_strategy": "full"}
    write_json(folder / "processor_config.json", {**processor, "processor_class": "LlavaProcessor"})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**settings, "chat_template": JOY_CHAT})
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    write_json(
        folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": [1, ids["<|eot_id|>"]], **sampling}
    )
    vision = {**_VISION, "model_type": "siglip_vision_model", "image_size": edge, "patch_size": 14}
    vision["vision_use_head"] = False
    return _llava_config(ids[JOY_IMAGE], vocabulary, vision, "full", 9)


def _llava_config(image: int, vocabulary: int, vision: dict[str, Any], strategy: str, tokens: int) -> Any:
    return transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(
            **_TEXT, vocab_size=vocabulary, pad_token_id=2, eos_token_id=1, bos_token_id=0
        ),
        vision_config=vision,
        image_token_index=image,
        image_seq_length=tokens,
        vision_feature_select_strategy=strategy,
        vision_feature_layer=-2,
        projector_hidden_act="gelu",
    )


def _florence2(folder: Path, ids: dict[str, int], vocabulary: int) -> Any:
    edge = 64
    write_json(
        folder / "preprocessor_config.json",
        {
            **_NORMAL,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "do_center_crop": False,
            "crop_size": {"height": edge, "width": edge},
            "size": {"height": edge, "width": edge},
            "image_seq_length": 5,
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "Florence2Processor",
        },
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    image = {"image_token": "<image>", "extra_special_tokens": {"image_token": "<image>"}}
    write_json(folder / "tokenizer_config.json", {**settings, **image})
    ends = {
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": 1,
    }
    beams = {"num_beams": 3, "no_repeat_ngram_size": 3, "early_stopping": True}
    write_json(folder / "generation_config.json", {**ends, **beams})
    vision = {"depths": [1, 1], "embed_dim": [16, 32], "num_heads": [2, 4], "num_groups": [2, 4], "window_size": 4}
    vision |= {"patch_size": [7, 3], "patch_stride": [8, 4], "patch_padding": [3, 1], "patch_prenorm": [False, True]}
    vision |= {"projection_dim": 32, "drop_path_rate": 0.0}
    text = {"vocab_size": vocabulary, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64}
    text |= {"decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "init_std": 0.2}
    text |= {"max_position_embeddings": 1024, **ends, "model_type": "bart"}
    return transformers.Florence2Config(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<image>"],
        **{k: v for k, v in ends.items() if "forced" not in k},
    )


_ROWS = [f"<row_{row + 1}_col_{column + 1}>" for row in range(6) for column in range(6)]
_SMOLVLM = ["<|im_start|>", "<|endoftext|>", "<|pad|>", "<fake_token_around_image>", "<image>"]
_SMOLVLM += ["<end_of_utterance>", "<global-img>", *_ROWS]
_QWEN = ["<|endoftext|>", "<|im_end|>", "<|object_ref_start|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>"]
_QWEN += ["<|image_pad|>", "<|video_pad|>"]
_JOY = ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eot_id|>", "<|start_header_id|>"]
_JOY += ["<|end_header_id|>", "<|reserved_special_token_70|>", JOY_IMAGE, "<|reserved_special_token_71|>"]
_BART = ["<s>", "</s>", "<pad>", "<image>"]


@dataclass(frozen=True)
class Kind:
    make: Callable[[Path, dict[str, int], int], Any]  # writes the folder's JSON files, gives the model's config
    special: list[str]  # tokens; the first three are beginning, end and padding
    tokenizer_class: str  # as the hub's folders say
    end: str  # the token that ends an answer


KINDS: dict[str, Kind] = {
    "idefics3": Kind(_idefics3, _SMOLVLM, "GPT2Tokenizer", "<end_of_utterance>"),
    "smolvlm": Kind(_smolvlm, _SMOLVLM, "GPT2Tokenizer", "<end_of_utterance>"),
    "qwen2_vl": Kind(_qwen2, _QWEN, "Qwen2Tokenizer", "<|im_end|>"),
    "qwen2_5_vl": Kind(_qwen2_5, _QWEN, "Qwen2Tokenizer", "<|im_end|>"),
    "qwen3_vl": Kind(_qwen3, _QWEN, "Qwen2Tokenizer", "<|im_end|>"),
    "llava": Kind(_llava, _BART, "PreTrainedTokenizerFast", "</s>"),
    "joycaption": Kind(_joycaption, _JOY, "PreTrainedTokenizerFast", "<|eot_id|>"),
    "florence2": Kind(_florence2, _BART, "PreTrainedTokenizerFast", "</s>"),
    "promptgen": Kind(_florence2, _BART, "PreTrainedTokenizerFast", "</s>"),
}
