"""Who writes the captions: every captioner by its name, each loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from distill.captions.captioner import Captioner, CaptioningStopped, Closing, never
from distill.captions.fetching import catalogue
from distill.captions.fetching.local_copies import local_copy
from distill.captions.fetching.plans import is_whole
from distill.errors import CaptionError
from distill.host import Describer
from distill.options import CaptionOptions

POCKET_FOLDER = Path(__file__).parents[1] / "pocket" / "captioner"
BUILT_IN = ("auto", "none", "pocket", "endpoint", "webui-blip", "webui-deepbooru")
NAMES = (*BUILT_IN, *(model.name for model in catalogue.MODELS))
"""What the option `captioner` may name, other than a folder."""

BEST_FIRST = (
    "qwen3-vl-4b",
    "joycaption",
    "qwen3-vl-2b",
    "qwen2-vl-2b",
    "florence-2-base",
    "smolvlm-500m",
    "smolvlm-256m",
    "blip-large",
    "blip-base",
)
"""In which order "auto" looks for one that is there; a tagger that is there is merged with it."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What captioners find where they work."""

    checkpoint: str = ""  # the loaded one's name: the bundled captioner knows the bundled checkpoint's world only
    folder: Path | None = None  # where fetched captioners are kept
    own: tuple[Describer, ...] = ()  # the host's
    key: str = ""  # the endpoint's


class NoCaptioner(Closing):
    """Says nothing: the box stays empty and the user writes the captions."""

    name = "none"

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """No tags."""
        return ""


class HostCaptioner(Closing):
    """One that the WebUI brings along; it loads and frees its model itself."""

    def __init__(self, describer: Describer) -> None:
        if describer.problem:
            raise CaptionError(f"{describer.name} can't be used: {describer.problem}", "Or choose another captioner.")
        self.name, self._describe = describer.name, describer.describe

    def say(self, image: Image.Image, should_stop: Callable[[], bool] = never) -> str:
        """A sentence or tags; it can only be stopped before it begins. Raises CaptionError, CaptioningStopped."""
        if should_stop():
            raise CaptioningStopped
        return self._describe(image)


def resolved(options: CaptionOptions, desk: Desk) -> tuple[str, ...]:
    """The choices that the option `captioner` stands for, "auto" replaced by what is at hand; without "none"."""
    wanted = options.captioner.strip()
    if Path(wanted).expanduser().is_dir():  # a folder may have a + in its name
        return (wanted,)
    names: list[str] = []
    for part in wanted.split("+"):
        names += _auto(options, desk) if part.strip() == "auto" else [part.strip()]
    return tuple(name for name in dict.fromkeys(names) if name != "none")


def _auto(options: CaptionOptions, desk: Desk) -> list[str]:
    """The endpoint, else a fetched model that can run, else the WebUI's own, else none."""
    if desk.checkpoint == "pocket":
        return ["pocket"]
    if options.endpoint.strip():
        return ["endpoint"]
    there = [name for name in BEST_FIRST if not obstacle(name, options, desk)][:1]
    there += [
        model.name for model in catalogue.MODELS if model.kind == "tagger" and not obstacle(model.name, options, desk)
    ]
    return there or [own.name for own in desk.own if not own.problem] or ["none"]


def needs_device(options: CaptionOptions, desk: Desk) -> bool:
    """Whether one of them computes on this machine, so that it has to wait for its turn."""
    return any(name != "endpoint" for name in resolved(options, desk))


def obstacle(name: str, options: CaptionOptions, desk: Desk) -> str:
    """Why a captioner of `NAMES` can't be used at once, one sentence with a way out; "" when it can. Loads nothing."""
    if name == "endpoint":
        return "" if options.endpoint.strip() else "Give the server's address as the option endpoint."
    if name.startswith("webui-"):
        own = next((own for own in desk.own if own.name == name), None)
        return own.problem if own else "This program brings no such captioner along; it is one of the WebUI's."
    if name in ("none", "pocket", "auto"):
        return ""
    model, folder = catalogue.model(name), folder_of(name, desk)
    if folder is None:
        about = f"{model.size_mib} MiB, {model.licence}"
        return f"It is not fetched yet ({about}): `distill captioners fetch {name}`, or the tab."
    return _missing(folder, desk)


def folder_of(name: str, desk: Desk) -> Path | None:
    """Where a known model is: fetched by us, or by another program into the shared cache; None when it is nowhere."""
    if desk.folder is not None and is_whole(desk.folder / name):
        return desk.folder / name
    return local_copy(catalogue.model(name))


def open_captioner(choice: str, options: CaptionOptions, desk: Desk) -> Captioner:
    """The captioner of that name, or a model in the folder of that path; nothing is ever fetched here.

    Raises CaptionError.
    """
    if choice == "none":
        return NoCaptioner()
    if choice == "pocket":
        return _in_folder(POCKET_FOLDER, "pocket", desk)
    if choice in NAMES:
        problem = obstacle(choice, options, desk)
        if problem:
            raise CaptionError(f"The captioner {choice} can't be used yet.", problem)
    if choice == "endpoint":
        from distill.captions.endpoint.captioner import EndpointCaptioner

        return EndpointCaptioner(options.endpoint, options.endpoint_model, key=desk.key)
    if choice in NAMES and choice not in BUILT_IN:
        folder = folder_of(choice, desk)
        assert folder is not None, "there was no obstacle"
        return _in_folder(folder, choice, desk)
    own = next((own for own in desk.own if own.name == choice), None)
    if own is not None:
        return HostCaptioner(own)
    folder = Path(choice).expanduser()
    if not choice or not folder.is_dir():
        raise CaptionError(
            f"There is no captioner {choice!r}.",
            f"Choose {', '.join(NAMES)}, or the path of a folder with a model in it. Nothing is fetched by itself.",
        )
    return _in_folder(folder, folder.name, desk)


def _in_folder(folder: Path, name: str, desk: Desk) -> Captioner:
    """The model in a folder, in this process where its packages know it, else in the sidecar."""
    device = _device_for(folder)
    if _is_tagger(folder):
        from distill.captions.wd_tagger import WdTagger

        return WdTagger(folder, name=name, device=device)
    from distill.captions.vlm.families import family_of, problem

    why = problem(family_of(folder))
    if not why:
        from distill.captions.vlm.captioner import open_folder

        return open_folder(folder, name=name, device=device)
    if desk.folder is None:
        raise CaptionError(why, "Choose another captioner, or one that is older.")
    from distill.captions.sidecar.captioner import SidecarCaptioner

    return SidecarCaptioner(folder, root=desk.folder, name=name, device=device)


def _missing(folder: Path, desk: Desk) -> str:
    """Which packages a model that is there lacks; "" when it can run."""
    if _is_tagger(folder):
        from distill.captions.wd_tagger import problem as of_tagger

        return of_tagger(folder)
    why = waits_for_sidecar(folder, desk)
    if not why:
        return ""
    from distill.captions.sidecar.packages import chosen

    size = f"{chosen().download_mib} MiB"
    return f"{why} The sidecar can run it: `distill captioners sidecar` fetches its packages ({size})."


def waits_for_sidecar(folder: Path, desk: Desk) -> str:
    """Why this process can't run a model that is there, while the sidecar's packages are not; "" when one can."""
    if _is_tagger(folder):
        return ""
    from distill.captions.sidecar.packages import installed
    from distill.captions.vlm.families import family_of, problem

    return "" if desk.folder is not None and installed(desk.folder) else problem(family_of(folder))


def _is_tagger(folder: Path) -> bool:
    return (folder / "selected_tags.csv").is_file()


def _device_for(folder: Path) -> str:
    """CUDA when the weights fit beside what is there already, else the CPU."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    needed = 1.3 * sum(file.stat().st_size for file in folder.glob("*.safetensors")) + 2**30
    return "cuda" if needed < torch.cuda.mem_get_info()[0] else "cpu"
