"""Captions with a BLIP model in a folder (Li et al. 2022, "BLIP"), the bundled tiny one or a full-size one.

Only the model's class comes from transformers, where it is the same from 4.30 to 5. Its processor is not: pictures
are prepared and word pieces put together here, which is a page less than the differences between versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from distill.captions.captioner import Closing, never
from distill.captions.vlm.asking import asking
from distill.captions.vlm.folder import COPY_AGAIN, read_config, read_json, read_text
from distill.captions.vlm.loading import load_model, release
from distill.errors import CaptionError

if TYPE_CHECKING:
    import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MAX_NEW_TOKENS = 56
BEAMS = 3


class BlipCaptioner(Closing):
    """A BLIP model that captions one picture at a time, in float32, with the same answer each time."""

    def __init__(self, folder: Path, *, name: str = "", device: Any = "cpu") -> None:
        self.name = name or folder.name
        self._words = read_vocabulary(folder)
        self._mean, self._std = _read_normalisation(folder)
        self._model: Any = _load(folder, device)

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """One sentence or comma list on an RGB picture of any size. Raises CaptionError once it is closed."""
        import torch

        if self._model is None:
            raise CaptionError("The captioner was closed.", "Open it again.")
        config = self._model.config
        values = pixels(image, config.vision_config.image_size, self._mean, self._std)
        with asking(self._model, should_stop), torch.inference_mode():
            row = self._model.generate(
                pixel_values=values.to(self._model.device),
                max_new_tokens=min(MAX_NEW_TOKENS, config.text_config.max_position_embeddings - 2),
                num_beams=BEAMS,
                do_sample=False,
            )[0].tolist()
        special = {getattr(config.text_config, f"{name}_token_id") for name in ("bos", "eos", "pad", "sep")}
        return words_of([i for i in row if i not in special], self._words)

    def close(self) -> None:
        """Let go of the weights."""
        if self._model is not None:
            self._model = None
            release()


def pixels(image: Image.Image, edge_px: int, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """An RGB picture as BLIP takes it: squeezed to a square, bicubic, (1, 3, edge, edge)."""
    import numpy as np
    import torch

    square = image.convert("RGB").resize((edge_px, edge_px), Image.Resampling.BICUBIC)
    levels = np.asarray(square, dtype=np.float32) / 255  # (h, w, 3)
    values = (levels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def words_of(row: Sequence[int], words: Sequence[str]) -> str:
    """Word pieces as text; ids that are in no vocabulary (BLIP's own [DEC]) are passed over."""
    pieces = [words[i] for i in row if 0 <= i < len(words) and not words[i].startswith("[")]
    return " ".join(pieces).replace(" ##", "").replace(" ,", ",").replace(" .", ".").replace(" ' ", "'")


def read_vocabulary(folder: Path) -> list[str]:
    """The word pieces by id, from vocab.txt, else from tokenizer.json. Raises CaptionError."""
    if (folder / "vocab.txt").is_file():
        return read_text(folder / "vocab.txt").splitlines()
    if not (folder / "tokenizer.json").is_file():
        raise CaptionError(f"{folder} has neither vocab.txt nor tokenizer.json.", COPY_AGAIN)
    pieces = read_json(folder / "tokenizer.json").get("model", {}).get("vocab")
    if not isinstance(pieces, dict):
        raise CaptionError(f"{folder / 'tokenizer.json'} has no word pieces.", COPY_AGAIN)
    return sorted(pieces, key=lambda piece: int(pieces[piece]))


def _read_normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            content = read_json(folder / name)
            content = content.get("image_processor", content)
            return content.get("image_mean", CLIP_MEAN), content.get("image_std", CLIP_STD)
    return CLIP_MEAN, CLIP_STD


def _load(folder: Path, device: Any) -> Any:
    """The model in float32, read from the folder alone. Raises CaptionError."""
    import torch

    kind = read_config(folder).get("model_type")
    if kind != "blip":
        raise CaptionError(
            f"The model in {folder} is of the kind {kind!r}, not BLIP.", "Choose a folder with a BLIP model."
        )
    return load_model(folder, "BlipForConditionalGeneration", torch.device(device), torch.float32)
