"""Work of a card recorded once and done again without Python: torch's CUDA graphs, with care for who lends the card.

Not yet run on a card: what is here follows torch's notes ("CUDA semantics: CUDA graphs") and its source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distill.training.memory import tidy

Work = Callable[[], None]
"""Something done on the device, from fixed memory to fixed memory."""

ROOM = 2.5
"""What has to be free, in what one run takes: a recording keeps that for itself, and as much again is needed beside it
for passes that are not recorded."""
BESIDE = 3e9
"""Bytes that have to be free beside that, for the pictures between epochs: a VAE's decoder takes most of it."""

_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2", "item"}
_INDEXING = {"index", "index_put", "index_put_"}
_COPYING = {"_to_copy", "copy_", "to"}


class DeclinedError(Exception):
    """It can't be recorded here, and nothing is wrong with that."""


class Recorder(Protocol):
    """Who can do something again."""

    def record(self, work: Work) -> Work:
        """What does `work` again. May do it a few times; raises DeclinedError, or anything that torch raises."""
        ...

    def close(self) -> None:
        """Everything recorded is given up, and its memory free."""
        ...


def recorder_for(device: torch.device) -> Recorder | None:
    """Who records on this device; None where nobody can."""
    if device.type != "cuda" or torch.version.cuda is None or torch.cuda.get_allocator_backend() != "native":
        return None
    return CudaGraphs(device)


def rehearse(work: Work) -> None:
    """Do it once. Raises DeclinedError where the machine has to wait for the device, which no recording can hold.

    To find that out while recording breaks the recording, and not every version of torch gets over that.
    """
    with _Unwaited():  # type: ignore[no-untyped-call]
        work()


class _Unwaited(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _WAITING or (name in _INDEXING and any(map(_is_mask, args[1]))):
            raise DeclinedError(f"The pass reads a value back ({name}).")
        result = func(*args, **(kwargs or {}))
        if name in _COPYING:
            devices = {value.device for value in (*args, result) if isinstance(value, torch.Tensor)}
            if len(devices) > 1:
                raise DeclinedError(f"The pass copies between devices ({name}).")
        return result


def _is_mask(index: Any) -> bool:
    """Whether its places have to be counted first."""
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


class CudaGraphs:
    """Recordings in one pool of memory: they are to be done one after the other, and what they give read in between.

    All runs are on one stream of their own: autograd remembers a weight's stream as long as a graph of it lives, and
    the libraries' working memory is each stream's own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def record(self, work: Work) -> Work:
        """As `Recorder.record`. On every way out the caller's stream is current again and waits for ours."""
        with torch.cuda.device(self._device):
            here = torch.cuda.current_stream()
            self._stream.wait_stream(here)
            try:
                # torch.cuda.graph has a stream context of its own, which a failing end of a capture leaves open.
                with torch.cuda.stream(self._stream):
                    return self._recorded(work)
            finally:
                here.wait_stream(self._stream)

    def _recorded(self, work: Work) -> Work:
        rehearse(work)
        self._have_room(work)
        graph = torch.cuda.CUDAGraph()
        pool = self._graphs[0].pool() if self._graphs else None
        # thread_local: another thread of a WebUI may use the card meanwhile, and must not fail for that.
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        self._graphs.append(graph)
        replay: Work = graph.replay
        return replay

    def _have_room(self, work: Work) -> None:
        """Measured in a run. Raises DeclinedError."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        takes = torch.cuda.max_memory_allocated() - before
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        if torch.cuda.mem_get_info()[0] + unused < ROOM * takes + BESIDE:
            raise DeclinedError("Too little memory is free for a recording.")

    def close(self) -> None:
        """As `Recorder.close`."""
        with torch.cuda.device(self._device):
            torch.cuda.synchronize()
            for graph in self._graphs:
                graph.reset()
            self._graphs.clear()
            tidy(self._device)
