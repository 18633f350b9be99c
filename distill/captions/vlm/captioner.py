"""Captions with a vision-language model of transformers in a folder: SmolVLM, Qwen-VL, Florence-2, LLaVA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from distill.captions.captioner import Captioner, Closing, never
from distill.captions.vlm.asking import asking
from distill.captions.vlm.families import Family, family_of
from distill.captions.vlm.loading import is_out_of_memory, load, out_of_memory, quiet, release
from distill.errors import CaptionError

MAX_NEW_TOKENS = 400
"""The 13 labelled lines take about 150."""

# What models and image processors raise for folders that another version of transformers wrote, or without memory.
_FOREIGN = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, MemoryError)
_LOOP_TOKENS, _LOOP_TIMES = 16, 3


def open_folder(folder: Path, *, name: str = "", device: Any = "cpu") -> Captioner:
    """A captioner of whichever kind the model in that folder is. Raises CaptionError."""
    folder = Path(folder)
    if family_of(folder).name == "blip":
        from distill.captions.vlm.blip import BlipCaptioner

        return BlipCaptioner(folder, name=name, device=device)
    return VlmCaptioner(folder, name=name, device=device)


class VlmCaptioner(Closing):
    """A vision-language model that answers one question about one picture at a time, greedily."""

    def __init__(self, folder: Path, *, name: str = "", device: Any = "cpu") -> None:
        self.name = name or folder.name
        self.family: Family = family_of(folder)
        self._model: Any
        self._model, self._prepare = load(folder, self.family, device)
        # In the model, not beside: from 4.50 on what is given to `generate` is filled up with the model's own.
        self._model.generation_config = _greedy(self._model, self._prepare.tokenizer)

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """Its answer on a picture of any size and mode. Raises CaptionError, CaptioningStopped."""
        if self._model is None or self._prepare is None:
            raise CaptionError("The captioner was closed.", "Open it again.")
        try:
            with quiet(), asking(self._model, should_stop):
                return self._said(image)
        except CaptionError:
            raise
        except _FOREIGN as error:
            refusal = self._refusal(error)
        raise refusal  # outside, so that it does not hold the tensors that the error was about

    def close(self) -> None:
        """Let go of the weights."""
        if self._model is not None:
            self._model = self._prepare = None  # type: ignore[assignment]
            release()

    def _said(self, image: Image.Image) -> str:
        import torch
        from transformers import StoppingCriteriaList

        model, tokenizer = self._model, self._prepare.tokenizer
        inputs = {
            key: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for key, value in self._prepare(image, model).items()
        }
        asked = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        loop = _Loop(asked)
        with torch.inference_mode():
            row = model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                stopping_criteria=StoppingCriteriaList([loop]),
            )[0].tolist()
        answer = without_loop(row[asked:])
        return str(tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()

    def _refusal(self, error: Exception) -> CaptionError:
        if is_out_of_memory(error):
            return out_of_memory()
        said = (str(error).strip() or repr(error)).splitlines()[0][:200]
        return CaptionError(
            f"{self.name} could not caption this picture ({type(error).__name__}: {said}).",
            "Your captions are as they were. Choose another captioner.",
        )


def loop_length(tokens: Sequence[int]) -> int:
    """How many tokens at the end say again what is before them: a small model that has lost its way. 0 if none do."""
    for period in range(1, len(tokens) // _LOOP_TIMES + 1):
        times = max(_LOOP_TIMES, -(-_LOOP_TOKENS // period))
        if len(tokens) < period * times:
            continue
        tail = list(tokens[-period * times :])
        if tail == tail[:period] * times:
            return period * (times - 1)
    return 0


def without_loop(tokens: Sequence[int]) -> list[int]:
    """The tokens up to where they begin to repeat themselves."""
    return list(tokens[: len(tokens) - loop_length(tokens)])


class _Loop:
    """Ends an answer that repeats itself; a stopping criterion of `generate`."""

    def __init__(self, asked: int) -> None:
        self._asked = asked  # tokens of the question, which come first

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        looping = [loop_length(row) > 0 for row in input_ids[:, self._asked :].tolist()]
        return torch.tensor(looping, device=input_ids.device)


def _greedy(model: Any, tokenizer: Any) -> Any:
    """How to answer: the same each time. Of the folder's own settings only those are kept that don't draw lots."""
    import transformers

    settings: Any = transformers.GenerationConfig  # untyped in most versions

    theirs = model.generation_config
    kept = ("bos", "eos", "pad", "decoder_start", "forced_bos", "forced_eos")
    ids = {f"{name}_token_id": getattr(theirs, f"{name}_token_id", None) for name in kept}
    if ids["eos_token_id"] is None:
        ids["eos_token_id"] = tokenizer.eos_token_id
    if ids["pad_token_id"] is None:
        ends = ids["eos_token_id"]
        ids["pad_token_id"] = ends[0] if isinstance(ends, list) else ends
    beams = {name: getattr(theirs, name, None) for name in ("num_beams", "no_repeat_ngram_size", "early_stopping")}
    more = (
        {name: value for name, value in beams.items() if value is not None} if model.config.is_encoder_decoder else {}
    )
    return settings(**ids, **more, do_sample=False)
