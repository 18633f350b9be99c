"""The captioners that a person can choose, and the fetching of those that are not there yet."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from distill.captions.backends import NAMES, Desk, folder_of, obstacle, waits_for_sidecar
from distill.captions.captioner import CaptioningStopped
from distill.captions.fetching import catalogue, downloads
from distill.captions.fetching.downloads import Offer, Progress
from distill.captions.sidecar import packages as sidecar_packages
from distill.errors import CaptionError
from distill.host import Host
from distill.options import CaptionOptions
from distill.pipeline import desk_of

SIDECAR = "sidecar"
"""The name under which the sidecar's packages are fetched, beside the models' names."""

_BUILT_IN = {
    "auto": "What is at hand: endpoint, a fetched model, the WebUI's own",
    "none": "None: write the captions yourself",
    "pocket": "Pocket: bundled, knows the demo's portraits only",
    "endpoint": "Endpoint: a server with a vision model (Ollama, LM Studio, llama.cpp, vLLM ...)",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One captioner, and whether it can be used at once."""

    name: str
    label: str
    note: str  # why it can't be used at once, with a way out; "" when it can
    can_fetch: bool = False  # its weights are not there yet
    needs_sidecar: bool = False  # its weights are there, the sidecar's packages are not


class Captioners:
    """What there is at a host; fetches in the background, one of each name at a time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._packages = Progress(state="none", done_bytes=0, total_bytes=0, text="")
        self._stop_packages = threading.Event()

    def choices(self, options: CaptionOptions) -> tuple[Choice, ...]:
        """Every captioner by its name. Loads nothing."""
        desk = self._desk()
        labels = {**_BUILT_IN, **{own.name: own.label for own in desk.own}}
        labels |= {model.name: model.label for model in catalogue.MODELS}
        return tuple(self._choice(name, labels[name], options, desk) for name in NAMES if name in labels)

    def names(self) -> tuple[str, ...]:
        """Of those that can be fetched, the sidecar's packages included."""
        return (SIDECAR, *(model.name for model in catalogue.MODELS))

    def offer(self, name: str, *, ask: bool = False) -> Offer:
        """What fetching it would be; the hub is asked only with `ask`. Raises CaptionError."""
        desk = self._desk()
        assert desk.folder is not None
        if name != SIDECAR:
            return downloads.offer(catalogue.model(name), desk.folder, ask=ask)
        chosen = sidecar_packages.chosen()
        return Offer(
            repository=" ".join(chosen.pins),
            revision="",
            licence="Apache-2.0",
            size_mib=chosen.download_mib,
            folder=sidecar_packages.packages(desk.folder),
            free_mib=downloads.offer(catalogue.MODELS[0], desk.folder).free_mib,
        )

    def fetch(self, name: str) -> Progress:
        """Begin to fetch a model or the sidecar's packages, or go on; one that runs is joined. Raises CaptionError."""
        desk = self._desk()
        assert desk.folder is not None
        if name != SIDECAR:
            return downloads.download(catalogue.model(name), desk.folder).snapshot()
        with self._lock:
            if self._packages.state != "running":
                self._stop_packages.clear()
                self._packages = Progress(state="running", done_bytes=0, total_bytes=0, text="Fetching the packages.")
                threading.Thread(target=self._install, name="distill-packages", daemon=True).start()
            return self._packages

    def progress(self, name: str) -> Progress | None:
        """How far it is; None when nobody asked for it in this process."""
        if name == SIDECAR:
            return None if self._packages.state == "none" else self._packages
        desk = self._desk()
        assert desk.folder is not None
        known = downloads.running(catalogue.model(name), desk.folder)
        return None if known is None else known.snapshot()

    def active(self) -> tuple[Progress, ...]:
        """All that is being fetched now."""
        found = (self.progress(name) for name in self.names())
        return tuple(progress for progress in found if progress is not None and progress.state == "running")

    def cancel(self, name: str) -> None:
        """End it; what is fetched of a model is kept, and the next `fetch` goes on from there."""
        if name == SIDECAR:
            self._stop_packages.set()
            return
        desk = self._desk()
        assert desk.folder is not None
        known = downloads.running(catalogue.model(name), desk.folder)
        if known is not None:
            known.cancel()

    def remove(self, name: str) -> None:
        """Delete what was fetched. Raises CaptionError."""
        desk = self._desk()
        assert desk.folder is not None
        if name == SIDECAR:
            sidecar_packages.remove(desk.folder)
        else:
            downloads.remove(desk.folder, catalogue.model(name))

    def _choice(self, name: str, label: str, options: CaptionOptions, desk: Desk) -> Choice:
        note = obstacle(name, options, desk)
        is_model = any(model.name == name for model in catalogue.MODELS)
        folder = folder_of(name, desk) if is_model else None
        return Choice(
            name=name,
            label=label,
            note=note,
            can_fetch=is_model and folder is None,
            needs_sidecar=folder is not None and bool(waits_for_sidecar(folder, desk)),
        )

    def _install(self) -> None:
        desk = self._desk()
        assert desk.folder is not None
        try:
            sidecar_packages.install(desk.folder, on_line=self._heard, should_stop=self._stop_packages.is_set)
            ended = replace(self._packages, state="done", text="The sidecar is ready.")
        except CaptioningStopped:
            ended = replace(self._packages, state="cancelled", text="Cancelled; nothing is left of it.")
        except CaptionError as error:
            ended = replace(self._packages, state="failed", text=error.message, error=error.message, hint=error.hint)
        with self._lock:
            self._packages = ended

    def _heard(self, line: str) -> None:
        with self._lock:
            self._packages = replace(self._packages, text=line.strip()[:200] or self._packages.text)

    def _desk(self) -> Desk:
        return desk_of(self._host, self._host.loaded().name)
