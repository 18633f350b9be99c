"""A WebUI extension for the tests only: looks at the loaded model from inside, tensor by tensor.

test_borrow.py copies it into the WebUI's extensions. It reads the model by itself, so that it also checks the adapter.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fastapi import Body
from modules import script_callbacks, sd_models
from PIL import Image
from safetensors import safe_open

PREFIXES = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.")


class Provoked(Exception):
    """What nobody expects."""


def roots() -> tuple[Any, Any, Any]:
    """UNet, VAE and text encoder as the WebUI has them now."""
    model = sd_models.model_data.sd_model
    objects = getattr(model, "forge_objects_original", None)
    if objects is None:
        return model.model.diffusion_model, model.first_stage_model, model.cond_stage_model.wrapped.transformer
    text = objects.clip.cond_stage_model.clip_l.transformer
    return objects.unet.model.diffusion_model, objects.vae.first_stage_model, text


def compare() -> dict[str, Any]:
    """Every tensor of the loaded model against the checkpoint file, bit by bit, in the type it is loaded in."""
    path = sd_models.model_data.sd_model.sd_checkpoint_info.filename
    equal, different, absent = [0, 0, 0], [], []
    with torch.inference_mode(), safe_open(path, "pt") as file:
        names = set(file.keys())
        for i, (prefix, root) in enumerate(zip(PREFIXES, roots())):
            for name, tensor in root.named_parameters():
                key = prefix + name.replace(".wrapped.", ".")
                if key not in names:
                    absent.append(key)
                elif torch.equal(tensor.cpu(), file.get_tensor(key).to(tensor.dtype)):
                    equal[i] += 1
                else:
                    different.append(key)
    return {"equal": equal, "different": len(different), "for example": different[:2], "absent": absent}


def traces() -> list[Any]:
    """What borrowing might leave behind in the host's modules, and where their weights lie."""
    return [
        (
            module.training,
            sorted(vars(module)),
            len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks),
            [(n, id(p), p.requires_grad, p.data_ptr()) for n, p in module._parameters.items() if p is not None],
        )
        for root in roots()
        for module in root.modules()
    ]


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Peak:
    """The most memory that the process had while a with block lasted, MiB."""

    def __enter__(self) -> Peak:
        self.start = self.most = rss_mib()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.01):
            self.most = max(self.most, rss_mib())


@contextmanager
def timed(marks: dict[str, float]) -> Iterator[None]:
    """Note when encoding starts and ends, and when training starts."""
    import distill.run

    encode, train = distill.run.data_set, distill.run.train

    def encoding(*args: Any, **kwargs: Any) -> Any:
        marks["encoding"] = time.perf_counter()
        try:
            return encode(*args, **kwargs)
        finally:
            marks["encoded"] = time.perf_counter()

    def training(*args: Any, **kwargs: Any) -> Any:
        marks["training"] = time.perf_counter()
        return train(*args, **kwargs)

    distill.run.data_set, distill.run.train = encoding, training
    try:
        yield
    finally:
        distill.run.data_set, distill.run.train = encode, train


def run(how: str, options: dict[str, Any]) -> dict[str, Any]:
    """One training as a job would do it, left in the way that `how` says."""
    from distill.hosts.detect import detect

    host = detect()
    told: dict[str, Any] = {"host": host.name, "loaded": vars(host.loaded()), "steps": 0}
    marks = {"clicked": time.perf_counter()}
    with Peak() as peak, timed(marks):
        try:
            with host.turn(f"distill-{how}", "Distill") as turn:
                train(host, turn, how, options, marks, told)
        except Exception as error:  # noqa: BLE001 - told to the test
            told["raised"] = f"{type(error).__name__}: {error}"
    told["seconds"] = {k: round(v - marks["clicked"], 2) for k, v in marks.items()}
    told["memory"] = {"before": round(peak.start), "above": round(peak.most - peak.start)}
    return told


def train(
    host: Any, turn: Any, how: str, options: dict[str, Any], marks: dict[str, float], told: dict[str, Any]
) -> None:
    from distill.events import Saved
    from distill.options import Options
    from distill.pipeline import distill as events
    from distill.training.loop import Step

    picture = Image.radial_gradient("L").resize((640, 640)).convert("RGB")
    stop = threading.Event()
    stream = events(host, picture, ["ball"], Options.from_flat(options), should_stop=stop.is_set)
    try:
        for event in stream:
            marks.setdefault(type(event).__name__, time.perf_counter())
            if isinstance(event, Saved):
                told["saved"] = event.path.stem
            if isinstance(event, Step):
                told["steps"] += 1
                turn.report(event.index, event.total, "probing")
                leave(how, stream, stop)
        told["ended"] = type(event).__name__
    finally:
        stream.close()


def leave(how: str, stream: Any, stop: threading.Event) -> None:
    """What a person or a machine does after a step."""
    if how == "stop":
        stop.set()
    elif how == "discard":
        stream.close()
    elif how == "exception":
        stream.throw(Provoked("provoked"))
    elif how == "memory":
        stream.throw(MemoryError())


def run_and_compare(how: str, options: dict[str, Any]) -> dict[str, Any]:
    from distill.hosts.detect import detect

    host = detect()
    with host.turn("distill-first", ""), host.borrow():
        pass  # the LoRA extension's own notes at modules are made new by this
    before = traces()
    told = run(how, options)
    told["untouched"] = traces() == before
    told["queue free"] = not sys.modules["modules.call_queue"].queue_lock._lock.locked()
    return {**told, **compare()}


def in_thread(work: Any, *args: Any) -> dict[str, Any]:
    """As a job: in a thread of its own."""
    out: dict[str, Any] = {}

    def body() -> None:
        try:
            out.update(work(*args))
        except Exception as error:
            out["failed"] = f"{type(error).__name__}: {error}"
            raise

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return out


def borrow_once() -> dict[str, Any]:
    """The model while it is lent: how it compares with its file, and how much of it is shared."""
    from distill.hosts.detect import detect

    host = detect()
    started = time.perf_counter()
    with host.turn("distill-look", ""), Peak() as peak, host.borrow() as models:
        told: dict[str, Any] = {"seconds": round(time.perf_counter() - started, 2)}
        told["above_mib"] = round(peak.most - peak.start)
        own = {p.data_ptr() for root in roots() for p in root.parameters()}
        parts = (models.unet, models.vae, models.text_encoder)
        told["of"] = [len(list(part.parameters())) for part in parts]
        told["shared"] = [sum(p.data_ptr() in own for p in part.parameters()) for part in parts]
        told["kept as"] = [sorted({str(p.dtype) for p in root.parameters()}) for root in roots()]
        told["about"] = f"{models.name} {models.sha256[:10]} {models.prediction_type} {models.native_px} {models.dtype}"
        return {**told, "scale": models.latent_scale, "dtype": str(models.dtype), **compare()}


def add_routes(_demo: Any, app: Any) -> None:
    @app.get("/distill-probe/compare")
    def _compare() -> dict[str, Any]:
        return compare()

    @app.get("/distill-probe/remembered")
    def _remembered() -> dict[str, Any]:
        from distill.training.encoded import MEMORY

        return {"bytes": MEMORY.size, "queue free": not sys.modules["modules.call_queue"].queue_lock._lock.locked()}

    @app.post("/distill-probe/borrow")
    def _borrow() -> dict[str, Any]:
        return in_thread(borrow_once)

    @app.post("/distill-probe/run")
    def _run(how: str = Body(...), options: dict = Body({})) -> dict[str, Any]:  # noqa: B008 - FastAPI's way
        return in_thread(run_and_compare, how, options)


script_callbacks.on_app_started(add_routes)
