"""The WebUI's own BLIP and DeepBooru as captioners, as its "Interrogate" buttons use them.

Read in A1111 1.10.1, Forge, reForge and the one for AMD: `modules/interrogate.py`, `modules/deepbooru.py`. BLIP is
used without CLIP, which `interrogate()` would load as well. What was not loaded before is let go of afterwards.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import CaptionError
from distill.host import Describer
from distill.hosts.webui import module

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

BLIP_WORDS = "bert-base-uncased"  # BLIP's tokenizer, which its loader would download, too
YOURSELF = "Write the captions yourself, or choose another captioner."


def describers() -> tuple[Describer, ...]:
    """Those that this WebUI has; looks for files, loads nothing, never raises."""
    try:
        return tuple(found for found in (_blip(), _deepbooru()) if found is not None)
    except Exception:  # another's code, which may be patched by any extension
        log.warning("The WebUI's own captioners could not be looked at.", exc_info=True)
        return ()


def _blip() -> Describer | None:
    models = getattr(module("modules.shared"), "interrogator", None)
    if models is None:
        return None  # Forge Classic has none
    problem = "" if getattr(models, "blip_model", None) is not None else _blip_problem()
    return Describer(
        name="webui-blip",
        label="BLIP of the WebUI: one sentence",
        problem=problem,
        describe=_guarded("BLIP", _say_blip),
    )


def _deepbooru() -> Describer | None:
    tagger = getattr(module("modules.deepbooru"), "model", None)
    if tagger is None:
        return None
    there = tagger.model is not None or _weights("torch_deepdanbooru", ".pt")
    return Describer(
        name="webui-deepbooru",
        label="DeepBooru of the WebUI: tags, best on drawings",
        problem="" if there else _missing("DeepBooru", "614 MB", "torch_deepdanbooru"),
        describe=_guarded("DeepBooru", _say_deepbooru),
    )


def _blip_problem() -> str:
    if not _weights("BLIP", ".pth"):
        return _missing("CLIP", "855 MB", "BLIP")
    if not _has_words():
        return "BLIP's list of words is not downloaded yet: use the WebUI's Interrogate CLIP in img2img once."
    return ""


def _missing(button: str, size: str, folder: str) -> str:
    return (
        f"Its weights ({size}) are not in {_folder(folder)} yet: "
        f"use the WebUI's Interrogate {button} in img2img once, which downloads them."
    )


def _folder(name: str) -> Path:
    return Path(module("modules.paths").models_path) / name


def _weights(folder: str, ending: str) -> list[str]:
    """What the WebUI itself would find there; without an address it downloads nothing."""
    found: list[str] = module("modules.modelloader").load_models(model_path=str(_folder(folder)), ext_filter=[ending])
    return found


_seen_words: set[str] = set()


def _has_words() -> bool:
    """Whether BLIP's tokenizer opens without the network; asked until it does."""
    if not _seen_words:
        from transformers import BertTokenizer

        try:
            words = BertTokenizer.from_pretrained(BLIP_WORDS, local_files_only=True).get_vocab()
        except Exception:  # noqa: BLE001 - OSError mostly, but other versions raise others
            return False
        if "a" in words:  # transformers 5 makes an empty one of nothing
            _seen_words.add(BLIP_WORDS)
    return bool(_seen_words)


def _guarded(name: str, say: Callable[[Image.Image], str]) -> Callable[[Image.Image], str]:
    """`say` with whatever it raises as CaptionError, and the memory of its models given back by then."""

    def describe(image: Image.Image) -> str:
        trouble, said = "", ""
        try:
            said = say(image.convert("RGB"))
        except CaptionError:
            raise
        except Exception as error:
            log.warning("The WebUI's %s failed.", name, exc_info=True)
            trouble = " ".join(str(error).split())[:200] or type(error).__name__
        _tidy()  # not in the `except`, whose error holds the frames and with them the model
        if trouble:
            raise CaptionError(f"The WebUI's {name} failed: {trouble.rstrip('.')}.", YOURSELF)
        if "<error>" in said:
            raise CaptionError(f"The WebUI's {name} failed; its console says why.", YOURSELF)
        return said.strip()

    return describe


def _say_blip(image: Image.Image) -> str:
    """One sentence by the WebUI's BLIP. Our turn is held, so that nobody else uses it."""
    shared, code = module("modules.shared"), module("modules.interrogate")
    models = shared.interrogator
    if getattr(models, "blip_model", None) is None and _blip_problem():
        raise CaptionError("The WebUI's BLIP can't be used yet.", _blip_problem())
    with _as_they_were(models, "blip_model", "blip_patcher", "dtype"):
        if hasattr(models, "blip_patcher"):
            _ready_in_forge(models, code)
        else:
            _ready_in_a1111(models, code, shared)
        try:
            said: str = models.generate_caption(image)
        finally:
            models.send_blip_to_ram()
        return said


def _ready_in_a1111(models: Any, code: Any, shared: Any) -> None:
    """The first half of its `load`."""
    code.lowvram.send_everything_to_cpu()
    code.devices.torch_gc()
    if models.blip_model is None:
        model = models.load_blip_model()
        half = not shared.cmd_opts.no_half and not models.running_on_cpu
        models.blip_model = model.half() if half else model
    models.blip_model = models.blip_model.to(code.devices.device_interrogate)
    models.dtype = next(models.blip_model.parameters()).dtype


def _ready_in_forge(models: Any, code: Any) -> None:
    """The first half of its `load`."""
    if models.blip_model is None:
        models.blip_model = models.load_blip_model().to(device=models.offload_device, dtype=models.dtype)
        models.blip_patcher = code.ModelPatcher(
            models.blip_model, load_device=models.load_device, offload_device=models.offload_device
        )
    _memory_of(code).load_models_gpu([models.blip_patcher])


def _say_deepbooru(image: Image.Image) -> str:
    """A comma list by the WebUI's DeepBooru, with its settings but without probabilities."""
    tagger = module("modules.deepbooru").model
    if tagger.model is None and not _weights("torch_deepdanbooru", ".pt"):
        raise CaptionError(
            "The WebUI's DeepBooru can't be used yet.", _missing("DeepBooru", "614 MB", "torch_deepdanbooru")
        )
    with _as_they_were(tagger, "model", "patcher"):
        tagger.start()
        try:
            said: str = tagger.tag_multi(image, force_disable_ranks=True)
        finally:
            tagger.stop()
        return said


@contextmanager
def _as_they_were(owner: Any, *names: str) -> Iterator[None]:
    """The owner's own attributes as before, unless the person wants such models kept in memory."""
    before = {name: value for name, value in vars(owner).items() if name in names}
    try:
        yield
    finally:
        if not getattr(module("modules.shared").opts, "interrogate_keep_models_in_memory", False):
            for name in names:
                if name in before:
                    setattr(owner, name, before[name])
                elif name in vars(owner):
                    delattr(owner, name)


def _tidy() -> None:
    """The memory of what nobody holds any more, through the WebUI's own manager."""
    code = module("modules.interrogate") or module("modules.deepbooru")
    memory = _memory_of(code)
    if memory is not None:
        memory.cleanup_models()  # takes what we let go of from its list, and from the device
    gc.collect()
    if memory is None:
        code.devices.torch_gc()
    else:
        memory.soft_empty_cache()


def _memory_of(code: Any) -> Any:
    """Forge's memory manager as that module imports it; None in A1111."""
    return getattr(code, "memory_management", None) or getattr(code, "model_management", None)
