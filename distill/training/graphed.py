"""The pass of a plain training recorded once for each shape and done again, which spares a quick card Python's time.

The draws stay where they are, and optimizer and schedule too. No gradient of a recording is used before it was the
eager one's, several times over; at anything else the training goes on eagerly, as if nothing had been tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from distill.errors import TrainingError
from distill.host import Models
from distill.options import Options
from distill.training.adapter import Adapter
from distill.training.dropout import Dropout
from distill.training.encode import DataSet
from distill.training.parity import apart, elsewhere, tolerance
from distill.training.passes import Batch, answer, loss_of
from distill.training.prior import teacher_asked
from distill.training.recording import DeclinedError, Recorder, Work, recorder_for
from distill.training.state import Course

Pass = Callable[[Batch, float], float]
"""Adds the gradients of a share of a batch's loss, and says what that share is."""
Shape = tuple[object, ...]
"""Of all inputs of a pass."""

CHECKS = 3
"""Steps of each shape in which the recorded gradients are only compared; each has other draws and weights."""
LEAST = 20
"""Steps that must be left for each shape: to record one costs about five."""
GIVEN_UP = "Recording the step was given up at step {step} ({problem}): it goes on as before. The LoRA is the same."


@contextmanager
def graphed(
    eager: Pass,
    models: Models,
    data: DataSet,
    adapters: Sequence[Adapter],
    options: Options,
    course: Course,
    steps: int,
) -> Iterator[Pass]:
    """The pass of a training of so many steps in all: `eager`, or one that records where that can be done.

    Whatever was recorded is gone on every way out.
    """
    recorder = recorder_for(models.device) if is_plain(models, data, adapters, options, course) else None
    if recorder is None:
        yield eager
        return
    with closing(Replays(eager, models, data, adapters, options, course, steps, recorder)) as passes:
        yield passes


def is_plain(models: Models, data: DataSet, adapters: Sequence[Adapter], options: Options, course: Course) -> bool:
    """Whether it is wanted, and most steps are one pass of the UNet alone, whose inputs are tensors known before."""
    recipe = options.train
    in_another_way = course.in_pieces or course.checkpoints or recipe.gradient_checkpointing
    return (
        recipe.cuda_graph
        and course.may_replay
        and not in_another_way
        and recipe.gradient_accumulation == 1
        and data.encoder_hidden_states is not None
        and all(adapter.part == "unet" and adapter.form == "lora" for adapter in adapters)
        and not Dropout(options.network).is_on
        and not teacher_asked(options.regularization, 0)  # then each step does
        and not any(map(_is_heard, models.unet.modules()))
    )


def _is_heard(module: torch.nn.Module) -> bool:
    """Whether hooks are to be called, which are Python's."""
    return any((module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks))


@dataclass
class _Recorded:
    """A pass on fixed memory."""

    inputs: dict[str, torch.Tensor]
    loss: torch.Tensor  # (,)
    replay: Work
    unproven: int  # comparisons that it still has to stand


class Replays:
    """A `Pass` that is eager until its recording has proved to be the same. Its step has one batch only."""

    def __init__(
        self,
        eager: Pass,
        models: Models,
        data: DataSet,
        adapters: Sequence[Adapter],
        options: Options,
        course: Course,
        steps: int,
        recorder: Recorder,
    ) -> None:
        self._eager, self._models, self._data, self._course = eager, models, data, course
        self._steps, self._recorder, self._teacher = steps, recorder, options.regularization
        self._weights = [parameter for adapter in adapters for parameter in adapter.parameters()]
        self._gradients: list[torch.Tensor] = []  # of all recordings, which set them anew each time
        self._recorded: dict[Shape, _Recorded] = {}
        self._read = [*models.unet.parameters(), *models.unet.buffers()]  # the trained ones among them
        self._places = self._places_now()

    def __call__(self, batch: Batch, share: float) -> float:
        """As a `Pass`; there are no gradients before."""
        if not self._course.may_replay or teacher_asked(self._teacher, self._course.step):
            return self._eager(batch, share)
        given = self._given(batch, share)
        shape = tuple((name, tensor.shape, tensor.dtype) for name, tensor in given.items())
        recorded = self._recorded.get(shape)
        if recorded is not None and not recorded.unproven:
            loss = self._tried(recorded, given)
            return self._eager(batch, share) if loss is None else loss * share
        loss = self._eager(batch, share)  # which this step takes, whatever comes of the rest
        if recorded is not None or self._pays():
            self._compare(shape, given, loss / share, lambda: self._eager(batch, share) / share)
        return loss

    def close(self) -> None:
        """Give up all recordings and their memory."""
        for weight, gradient in zip(self._weights, self._gradients):
            if weight.grad is gradient:
                weight.grad = None
        self._recorded.clear()
        self._gradients.clear()
        self._recorder.close()

    def _pays(self) -> bool:
        return self._steps - self._course.step >= LEAST * (len(self._recorded) + 1)

    def _given(self, batch: Batch, share: float) -> dict[str, torch.Tensor]:
        """All that a pass depends on beside the weights."""
        assert self._data.encoder_hidden_states is not None, "the training is plain"
        given = {
            "noisy_latents": batch.noisy_latents,
            "timesteps": batch.timesteps,
            "states": self._data.encoder_hidden_states.of(batch.rows),
            "target": batch.target,
            "weights": batch.weights,
            "share": self._course.scaler.scale(torch.full((), share, device=batch.target.device)),
        }
        return given if batch.mask is None else {**given, "mask": batch.mask}

    def _compare(self, shape: Shape, given: dict[str, torch.Tensor], loss: float, again: Callable[[], float]) -> None:
        """Record where nothing is yet, and hold the recorded gradients beside those that are there, which stay."""
        expected = [weight.grad for weight in self._weights if weight.grad is not None]
        problem, is_broken = "", False
        try:
            if len(expected) < len(self._weights):
                raise DeclinedError("A weight has no gradient.")
            recorded = self._recorded.get(shape) or self._record(shape, given)
            off = self._off(self._replayed(recorded, given), loss, expected)
            recorded.unproven -= off == 0
            problem = f"its gradients were off by {off:.1e}" if off > 0 else ""
        except DeclinedError:
            self._course.may_replay = False
        except Exception as error:  # noqa: BLE001 - whatever it is, the eager step needs none of it
            problem, is_broken = _said(error), True
        if problem or not self._course.may_replay:
            self._give_up(problem)
        if is_broken:
            self._ask_again(again, loss, expected)
        self._put(expected)

    def _ask_again(self, again: Callable[[], float], loss: float, expected: Sequence[torch.Tensor]) -> None:
        """A recording that broke may leave a card that computes wrongly: the eager step must be what it was.

        Raises TrainingError where it is not.
        """
        self._put([None] * len(self._weights))
        if self._off(again(), loss, expected) > 0:
            raise TrainingError("The card no longer computes as it did a moment ago.", "Restart before you train.")

    def _record(self, shape: Shape, given: dict[str, torch.Tensor]) -> _Recorded:
        """With other inputs and other weights than it will be compared with, so that nothing of them stays in it."""
        inputs = {name: torch.zeros_like(tensor) for name, tensor in given.items()}
        mask, models, weights, loss = inputs.get("mask"), self._models, self._weights, torch.zeros_like(given["share"])
        self._gradients = self._gradients or [torch.zeros_like(weight) for weight in weights]

        def work() -> None:
            torch._foreach_zero_(self._gradients)
            self._put(self._gradients)
            noise_pred = answer(models, inputs["noisy_latents"], inputs["timesteps"], inputs["states"])
            found = loss_of(noise_pred, inputs["target"], inputs["weights"], mask)
            (found * inputs["share"]).backward()  # type: ignore[no-untyped-call]
            loss.copy_(found.detach())

        with elsewhere(weights):
            self._recorded[shape] = _Recorded(inputs, loss, self._recorder.record(work), CHECKS)
        self._course.replays = True
        return self._recorded[shape]

    def _tried(self, recorded: _Recorded, given: dict[str, torch.Tensor]) -> float | None:
        """The loss, with the gradients in place; None where nothing came of it, and no gradients are there."""
        try:
            return self._replayed(recorded, given)
        except Exception as error:  # noqa: BLE001 - whatever it is, the eager step needs none of it
            problem = _said(error)
        self._give_up(problem)
        self._put([None] * len(self._weights))
        return None

    def _replayed(self, recorded: _Recorded, given: dict[str, torch.Tensor]) -> float:
        if self._places_now() != self._places:
            raise RuntimeError("a weight was moved")
        for name, tensor in given.items():
            recorded.inputs[name].copy_(tensor)
        recorded.replay()
        self._put(self._gradients)
        return float(recorded.loss)

    def _off(self, loss: float, expected_loss: float, expected: Sequence[torch.Tensor]) -> float:
        """By how much the gradients that are there, or the loss, are not the expected ones: 0 where that is rounding,
        nan where it can't be said.
        """
        off = apart([weight.grad for weight in self._weights if weight.grad is not None], expected)
        loss_off = apart([torch.tensor(loss)], [torch.tensor(expected_loss)])
        most = math.nan if math.isnan(off + loss_off) else max(off, loss_off)
        return 0.0 if most <= tolerance(self._models.dtype) else most

    def _give_up(self, problem: str) -> None:
        """Eagerly from here on."""
        self._course.may_replay = self._course.replays = False
        self.close()
        self._course.notes += [GIVEN_UP.format(step=self._course.step + 1, problem=problem)] if problem else []

    def _put(self, gradients: Sequence[torch.Tensor | None]) -> None:
        for weight, gradient in zip(self._weights, gradients):
            weight.grad = gradient

    def _places_now(self) -> list[int]:
        return [tensor.data_ptr() for tensor in self._read]


def _said(error: Exception) -> str:
    """Its kind and first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
