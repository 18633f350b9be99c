"""A picture and a question as a vision-language model takes them.

transformers' image processors and tokenizers are used, but not its processors, which join the two: they ask for
packages that only videos need (torchvision, num2words) and count picture tokens differently from version to version.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from distill.captions.vlm.families import Family
from distill.captions.vlm.folder import COPY_AGAIN, read_json, read_text
from distill.errors import CaptionError

if TYPE_CHECKING:
    import torch

MAX_PX = 1024
"""Longest edge that a model gets to see: more tokens would cost time and memory, and tell little of a portrait."""

MIN_PX = 56
"""Shortest edge: Qwen2-VL's two patches; other models enlarge by themselves."""


def fitted(image: Image.Image) -> Image.Image:
    """RGB with its longest edge at most MAX_PX; a very thin or tiny picture is widened to MIN_PX."""
    scale = min(1.0, MAX_PX / max(image.size))
    width, height = (max(MIN_PX, round(edge * scale)) for edge in image.size)
    picture = image.convert("RGB")
    return picture if (width, height) == image.size else picture.resize((width, height), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Preparer:
    """Makes a model's inputs of a picture and the family's question."""

    family: Family
    tokenizer: Any
    image_processor: Any
    config: Any  # the model's
    template: str  # how a chat is written down; "" for models without one

    def __call__(self, image: Image.Image, model: Any) -> dict[str, torch.Tensor]:
        """What `model.generate` takes, on the CPU: input_ids (1, n), attention_mask (1, n), pixel_values and more."""
        picture = fitted(image)
        pixels = self._pixels(picture)
        text = self._text(self._picture_tokens(pixels))
        # The template, or the line above, has written the beginning itself.
        plain = self.family.kind == "florence2" or text.startswith(self.tokenizer.bos_token or "\0")
        words = self.tokenizer(text, return_tensors="pt", add_special_tokens=not plain)
        inputs = {name: words[name] for name in ("input_ids", "attention_mask")}
        if "mm_token_type_ids" in inspect.signature(model.forward).parameters:  # Qwen's, from transformers 5 on
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == self._image_id).int()
        return {**inputs, **{name: value for name, value in pixels.items() if name not in ("rows", "cols")}}

    @property
    def _image_id(self) -> int:
        found = getattr(self.config, "image_token_id", None)
        return int(self.config.image_token_index if found is None else found)

    @property
    def _image_token(self) -> str:
        return str(self.tokenizer.convert_ids_to_tokens(self._image_id))

    def _pixels(self, picture: Image.Image) -> dict[str, Any]:
        if self.family.kind in ("idefics3", "smolvlm"):
            tile = self.image_processor.max_image_size["longest_edge"]
            # They enlarge to 4 tiles; as nothing is gained beyond what the picture has, so many as it fills.
            edge = min(self.image_processor.size["longest_edge"], -(-max(picture.size) // tile) * tile)
            size = {"longest_edge": edge}
            pixels = self.image_processor([[picture]], size=size, return_row_col_info=True, return_tensors="pt")
        else:
            pixels = self.image_processor(images=[picture], return_tensors="pt")
        return dict(pixels)

    def _picture_tokens(self, pixels: Mapping[str, Any]) -> str:
        """The tokens that the picture's features are put in the place of."""
        token = self._image_token
        if self.family.kind in ("idefics3", "smolvlm"):
            return _tiles(token * self._tokens_per_tile(), pixels["rows"][0][0], pixels["cols"][0][0])
        if self.family.kind == "florence2":
            return token * int(self.image_processor.image_seq_length)
        if self.family.kind == "llava":
            return token * self._patches(pixels["pixel_values"])
        merged = self.config.vision_config.spatial_merge_size**2
        return token * int(pixels["image_grid_thw"][0].prod() // merged)

    def _tokens_per_tile(self) -> int:
        vision = self.config.vision_config
        patches: int = (vision.image_size // vision.patch_size) ** 2
        return patches // int(self.config.scale_factor) ** 2

    def _patches(self, pixel_values: torch.Tensor) -> int:
        """As many as LLaVA's tower has features: CLIP has one more for the whole, "default" leaves the first out."""
        height, width = pixel_values.shape[-2:]
        vision = self.config.vision_config
        whole = int(vision.model_type.startswith("clip"))
        left_out = int(self.config.vision_feature_select_strategy == "default")
        patch = int(vision.patch_size)
        return (height // patch) * (width // patch) + whole - left_out

    def _text(self, picture: str) -> str:
        """The question as the model was taught to read it, with the picture's tokens in it."""
        prompt = self.family.prompt
        if self.family.kind == "florence2":
            return f"{picture}{self.tokenizer.bos_token}{prompt}{self.tokenizer.eos_token}"
        token = self._image_token
        parts = [{"type": "image"}, {"type": "text", "text": prompt}]
        # Some templates take only text and place the picture themselves, others want it as a part, or in the text.
        for content in (prompt, parts, f"{token}\n{prompt}"):
            text = self._chat(content)
            if text.count(token) == 1 and prompt in text:
                return text.replace(token, picture)
        if self.family.kind != "llava":
            raise CaptionError("The model's folder has no chat template that takes a picture.", COPY_AGAIN)
        return f"USER: {picture}\n{prompt} ASSISTANT:"  # LLaVA 1.5's, from before there were templates

    def _chat(self, content: Any) -> str:
        """The chat written down, "" when the template can't."""
        from jinja2 import TemplateError

        system = [{"role": "system", "content": self.family.system}] if self.family.system else []
        if not self.template:
            return ""
        try:
            text = self.tokenizer.apply_chat_template(
                [*system, {"role": "user", "content": content}],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except (TemplateError, TypeError):
            return ""
        return str(text)


def read_template(folder: Path, tokenizer: Any) -> str:
    """The chat template: transformers has kept it in three places. "" when there is none. Raises CaptionError."""
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja")
    if (folder / "chat_template.json").is_file():
        return str(read_json(folder / "chat_template.json").get("chat_template", ""))
    template = getattr(tokenizer, "chat_template", None)
    return template if isinstance(template, str) else ""


def _tiles(tokens: str, rows: int, columns: int) -> str:
    """Idefics3's picture: its tiles by row and column, then all of it once more, small."""
    around, text = "<fake_token_around_image>", ""
    for row in range(rows):
        text += "".join(f"{around}<row_{row + 1}_col_{column + 1}>{tokens}" for column in range(columns)) + "\n"
    return f"{text}{chr(10) if text else ''}{around}<global-img>{tokens}{around}"
