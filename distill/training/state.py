"""Everything that the next step depends on, so that a training can go on as if it had never been cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from distill.errors import TrainingError
from distill.host import Models
from distill.options import Options
from distill.training import optimizers
from distill.training.adapter import Adapter
from distill.training.averages import Average


@dataclass(frozen=True)
class State:
    """A training after a step, as plain values and tensors on the CPU."""

    step: int
    values: dict[str, Any]  # as JSON has them
    tensors: dict[str, torch.Tensor]


class Orders:
    """Shuffled places; it remembers those that it gave, and gives them again after `replay`."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.coming: list[list[int]] = []
        self.given: list[list[int]] = []

    def __call__(self, count: int) -> list[int]:
        """The numbers below `count` in another order."""
        order: list[int]
        order = self.coming.pop(0) if self.coming else torch.randperm(count, generator=self._generator).tolist()
        self.given.append(order)
        return order

    def replay(self, given: Sequence[Sequence[int]]) -> None:
        """From the beginning again: give these first."""
        self.coming, self.given = [list(order) for order in given], []


class Course:
    """What moves in a training from step to step."""

    def __init__(
        self, models: Models, adapters: Sequence[Adapter], options: Options, steps: int, generator: torch.Generator
    ) -> None:
        self.step = 0  # the last one that was taken
        self.drawn = 0  # batches that were drawn for it and those before
        self.generator = generator
        self.optimizer = optimizers.make(adapters, options.train)
        self.schedule = optimizers.schedule(self.optimizer, options.train, steps)
        self.scaler = _grad_scaler(models)
        self.orders = Orders(generator)
        self.average = Average(adapters, options.train.ema_decay)
        self.in_pieces = False  # whether the pictures of a batch are computed one after the other
        self.checkpoints = False  # whether activations are computed again instead of kept, though nobody asked for it
        self.may_replay = True  # whether a step may be recorded and done again (`graphed`)
        self.replays = False  # whether one is recorded, which keeps memory
        self.notes: list[str] = []  # what the person should know, not said yet
        self._begun: tuple[torch.Tensor, list[list[int]]] | None = None  # of the step that is under way
        self._weights = [parameter for adapter in adapters for parameter in adapter.parameters()]

    def begin(self) -> None:
        """A step begins; until `seal` it can be taken back."""
        self._begun = self.generator.get_state(), [*self.orders.given, *self.orders.coming]

    def seal(self) -> None:
        """From here on the weights change."""
        self._begun = None

    def rewind(self) -> bool:
        """Take back the draws and gradients of the step that is under way; False when it is too late for that."""
        if self._begun is None:
            return False
        drawn, given = self._begun
        self.generator.set_state(drawn)
        self.orders.replay(given)
        self.optimizer.zero_grad(set_to_none=True)
        return True

    def taken(self, batches: int) -> None:
        """One more step was taken, of so many batches."""
        self.step, self.drawn = self.step + 1, self.drawn + batches

    def said(self) -> list[str]:
        """The notes since it was last asked."""
        said, self.notes = self.notes, []
        return said

    def rates(self) -> tuple[float, float | None, float | None]:
        """The learning rates of UNet and text encoder now, and what Prodigy makes of the first."""
        of_parts = {group["part"]: group for group in reversed(self.optimizer.param_groups)}  # the first one of each
        first, words = of_parts["unet"], of_parts.get("text_encoder")
        return first["lr"], words["lr"] if words else None, first["d"] * first["lr"] if "d" in first else None

    def state(self) -> State:
        """As it is now. Raises TrainingError where an optimizer holds what can't be written down."""
        tensors: dict[str, torch.Tensor] = {}
        values = {
            "drawn": self.drawn,
            "orders": [*self.orders.given, *self.orders.coming],
            "optimizer": _packed(self.optimizer.state_dict(), "optimizer", tensors),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "scaler": self.scaler.state_dict(),
            "averaged": self.average.count,
        }
        tensors["generator"] = self.generator.get_state()
        for name, several in (("weight", self._weights), ("mean", self.average.means)):
            tensors |= {f"{name}.{i}": _copy(tensor) for i, tensor in enumerate(several)}
        return State(self.step, values, tensors)

    def restore(self, state: State) -> None:
        """Go on after `state`. Raises TrainingError when it is of other layers or another optimizer."""
        values, tensors = state.values, state.tensors
        try:
            self.optimizer.load_state_dict(_unpacked(values["optimizer"], tensors))
            self.schedule.load_state_dict({**self.schedule.state_dict(), **values["schedule"]})
            self.scaler.load_state_dict(values["scaler"])
            for name, several in (("weight", self._weights), ("mean", self.average.means)):
                for i, tensor in enumerate(several):
                    tensor.data.copy_(tensors[f"{name}.{i}"])
            self.generator.set_state(tensors["generator"])
            self.orders.replay(values["orders"])
            self.average.count, self.drawn = values["averaged"], values["drawn"]
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise TrainingError(
                f"The kept state does not fit this training ({type(error).__name__}: {error}).", "Train anew."
            ) from error
        self.step = state.step


def _grad_scaler(models: Models) -> torch.amp.GradScaler:
    enabled = models.dtype == torch.float16
    if not hasattr(torch.amp, "GradScaler"):  # torch before 2.3, as in A1111
        return torch.cuda.amp.GradScaler(enabled=enabled)
    return torch.amp.GradScaler(models.device.type, enabled=enabled)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _packed(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON can hold it, with its tensors put into `tensors` under names that begin with `name`."""
    if isinstance(value, torch.Tensor):
        tensors[name] = _copy(value)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(inner, f"{name}.{i}", tensors) for i, inner in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TrainingError(f"{name} is a {type(value).__name__}, which can't be kept.")


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensors[held]
    if kind == "dict":
        return {key: _unpacked(inner, tensors) for key, inner in held}
    made = [_unpacked(inner, tensors) for inner in held]
    return made if kind == "list" else tuple(made)
