"""Captions with a BLIP model in a folder (Li et al. 2022, "BLIP"), the bundled tiny one or a full-size one.

Only the model's class comes from transformers, where it is the same from 4.30 to 5. Its processor is not: pictures
are prepared and word pieces put together here, which is a page less than the differences between versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from distill.captions.captioner import CaptioningStopped, Closing, never
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
        self._model: Any = _load(folder).to(device)

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """One sentence or comma list on an RGB picture of any size. Raises CaptionError once it is closed."""
        import torch

        if self._model is None:
            raise CaptionError("The captioner was closed.", "Open it again.")
        config = self._model.config
        if should_stop():
            raise CaptioningStopped
        values = pixels(image, config.vision_config.image_size, self._mean, self._std)
        with torch.inference_mode():
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
        self._model = None


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
        return _text(folder / "vocab.txt").splitlines()
    if not (folder / "tokenizer.json").is_file():
        raise CaptionError(f"{folder} has neither vocab.txt nor tokenizer.json.", _COMPLETE)
    pieces = _read_json(folder / "tokenizer.json").get("model", {}).get("vocab")
    if not isinstance(pieces, dict):
        raise CaptionError(f"{folder / 'tokenizer.json'} has no word pieces.", _COMPLETE)
    return sorted(pieces, key=lambda piece: int(pieces[piece]))


def _read_normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            content = _read_json(folder / name)
            content = content.get("image_processor", content)
            return content.get("image_mean", CLIP_MEAN), content.get("image_std", CLIP_STD)
    return CLIP_MEAN, CLIP_STD


def _load(folder: Path) -> Any:
    """The model in float32 on the CPU, read from the folder alone. Raises CaptionError."""
    _check_is_blip(folder)
    from transformers import BlipForConditionalGeneration

    model: Any
    with _quiet():
        try:
            model = BlipForConditionalGeneration.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True
            )
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            said = str(error).strip().splitlines()
            raise CaptionError(
                f"The model in {folder} can't be loaded: {said[0] if said else error!r}", _COMPLETE
            ) from None
        except Exception as error:  # noqa: BLE001 - safetensors' own error has no public base but Exception
            raise CaptionError(f"The weights in {folder} are damaged ({type(error).__name__}).", _COMPLETE) from None
    return model.float().eval().requires_grad_(False)


def _check_is_blip(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CaptionError(f"{folder} has no config.json, so it is no model folder.", _COMPLETE)
    kind = _read_json(folder / "config.json").get("model_type")
    if kind != "blip":
        raise CaptionError(
            f"The model in {folder} is of the kind {kind!r}, not BLIP.", "Choose a folder with a BLIP model."
        )
    if not list(folder.glob("*.safetensors")):
        raise CaptionError(
            f"{folder} has no .safetensors weights.", "Pickled weights (.bin) are not opened: get the safetensors file."
        )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionError(f"{file} can't be read: {error}.", _COMPLETE) from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(file))
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise CaptionError(f"{file} is damaged.", _COMPLETE)
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no advice to train the model, then as it was."""
    from transformers.utils import logging as said

    logging: Any = said  # untyped in most versions
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()


_COMPLETE = "Copy the whole folder again (config.json, vocab.txt, model.safetensors)."
