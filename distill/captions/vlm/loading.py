"""Models, tokenizers and image processors out of a folder alone: no network, no foreign code, no pickles."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from distill.captions.vlm.families import Family, problem
from distill.captions.vlm.folder import COPY_AGAIN, count_parameters
from distill.captions.vlm.inputs import Preparer, read_template
from distill.errors import CaptionError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_SPARE = 1.15  # activations and the picture's tokens, over the weights


def load(folder: Path, family: Family, device: Any) -> tuple[Any, Preparer]:
    """The model on its device, and what prepares its inputs. Raises CaptionError."""
    import torch

    count_parameters(folder)  # cheap, so that a folder that is not whole is told of first
    if said := problem(family):
        raise CaptionError(said, "Choose another captioner, or run this one in an endpoint.")
    device = torch.device(device)
    with quiet():
        preparer = load_preparer(folder, family)  # first: it is quick and tells what is missing
    return load_model(folder, family.model_class, device, dtype_for(device), lean=True), preparer


def load_model(folder: Path, model_class: str, device: torch.device, dtype: torch.dtype, *, lean: bool = False) -> Any:
    """A transformers model with all of its weights, to answer only. Raises CaptionError.

    `lean` skips the model of random numbers that is made first; transformers 4.30 then unties BLIP's biases.
    """
    check_memory(folder.name, count_parameters(folder) * dtype.itemsize, device)
    with quiet():
        model, info = _guarded(folder, lambda: _from_pretrained(folder, model_class, dtype, lean))
    missing = missing_weights(model, info["missing_keys"])
    if missing:
        raise CaptionError(
            f"The weights in {folder} are not this model's: {len(missing)} are missing, for example {missing[0]}.",
            COPY_AGAIN,
        )
    return _guarded(folder, lambda: model.eval().requires_grad_(False).to(device))


def missing_weights(model: Any, missing_keys: Iterable[str]) -> list[str]:
    """The weights that no key was found for: tied ones have several names, and buffers are made anew."""
    absent = set(missing_keys)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        if parameter.is_meta:
            absent.add(name)
    return sorted(tied[0] for tied in names.values() if absent.issuperset(tied))


def _from_pretrained(folder: Path, model_class: str, dtype: torch.dtype, lean: bool) -> tuple[Any, dict[str, Any]]:
    """The model on the CPU, and which of its weights were missing."""
    import torch
    import transformers

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    if lean and find_spec("accelerate") is not None:
        options["low_cpu_mem_usage"] = True
    with torch.random.fork_rng(devices=[]):  # without accelerate, random numbers are drawn: not from the host's
        loaded = getattr(transformers, model_class).from_pretrained(str(folder), torch_dtype=dtype, **options)
    return loaded[0], loaded[1]


def dtype_for(device: torch.device) -> torch.dtype:
    """float32 but on CUDA, where it is bfloat16 from Ampere on and float16 before."""
    import torch

    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def check_memory(title: str, weights: int, device: torch.device) -> None:
    """Refuse weights (in bytes) that can't fit, as a full main memory would end the whole program."""
    import psutil
    import torch

    places = {"main memory": int(psutil.virtual_memory().available)}  # they come through it to the card, too
    if device.type == "cuda":
        torch.cuda.empty_cache()
        places["the graphics card's memory"] = torch.cuda.mem_get_info(device)[0]
    for place, free in places.items():
        if weights * _SPARE > free:
            needed = weights * _SPARE / 2**30
            raise CaptionError(
                f"{title} needs about {needed:.1f} GB of {place}, and {free / 2**30:.1f} GB are free.",
                "Choose a smaller captioner, close other programs, or use an endpoint.",
            )


def release() -> None:
    """Give what was dropped back to the system."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def quiet() -> Iterator[None]:
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory, of whichever device."""
    import torch

    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory() -> CaptionError:
    """Said in place of it."""
    return CaptionError(
        "Out of memory while captioning; your captions are as they were.",
        "Choose a smaller captioner, or an endpoint.",
    )


def load_preparer(folder: Path, family: Family) -> Preparer:
    """Tokenizer, image processor, config and chat template of the folder. Raises CaptionError."""
    import transformers

    auto: Any = transformers  # untyped in most versions

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

    def loaded() -> Preparer:
        # tokenizer.json as it lies there: the models' own classes in transformers 5 put their own rules in its place.
        tokenizer = auto.PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        images = auto.AutoImageProcessor.from_pretrained(str(folder), **options)
        config = auto.AutoConfig.from_pretrained(str(folder), **options)
        return Preparer(family, tokenizer, images, config, read_template(folder, tokenizer))

    wanted = {"tokenizer.json": ("tokenizer.json",), "preprocessor_config.json": _PREPROCESSOR}
    for name, forms in wanted.items():
        if not any((folder / form).is_file() for form in forms):
            raise CaptionError(f"{folder} has no {name}.", COPY_AGAIN)
    return _guarded(folder, loaded)


_PREPROCESSOR = ("preprocessor_config.json", "processor_config.json")


def _guarded(folder: Path, make: Callable[[], T]) -> T:
    """What `make` gives; its errors as a CaptionError of one line that holds on to no half-loaded model."""
    try:
        return make()
    except CaptionError:
        raise
    except Exception as error:  # noqa: BLE001 - safetensors' and tokenizers' errors have no public base but Exception
        if is_out_of_memory(error):
            refusal = out_of_memory()
        else:
            said = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {said[0]}" if said else repr(error)
            refusal = CaptionError(f"The model in {folder} can't be loaded ({reason[:200]}).", COPY_AGAIN)
    raise refusal
