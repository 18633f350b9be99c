"""A recorder for a CPU: torch's operations are kept with the memory that they read and wrote, and done again there.

As with a card's, no Python of the pass runs a second time: what it has read, chosen or cast by then stays as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from distill.training.recording import Work, rehearse

Call = tuple[Any, Any, Any, Any]
"""An operation, its arguments and keywords, and what came of it."""


class _Listening(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, result))
        return result


class Tape:
    """As `recording.Recorder`; it counts."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0
        self.is_closed = False

    def record(self, work: Work) -> Work:
        rehearse(work)
        with _Listening() as listening:
            work()
        self.recordings += 1
        done = self.heard(listening.done)
        return lambda: self._again(done)

    def close(self) -> None:
        self.is_closed = True

    def heard(self, done: list[Call]) -> list[Call]:
        """What is done again of that."""
        return done

    def after(self) -> None:
        """After each replay."""

    @torch.no_grad()
    def _again(self, done: list[Call]) -> None:
        assert not self.is_closed, "its memory is gone"
        self.replays += 1
        for func, args, kwargs, result in done:
            made = func(*args, **kwargs)
            for new, old in zip(tree_flatten(made)[0], tree_flatten(result)[0]):
                # Views and operations in place have written where they should.
                if isinstance(new, torch.Tensor) and new.data_ptr() != old.data_ptr():
                    old.copy_(new)
        self.after()
