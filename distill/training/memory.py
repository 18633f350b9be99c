"""When memory runs out in a step: the same step again, in a way that needs less of it.

Nothing of such a step is left: its draws are taken back and the weights were not touched yet, so what follows is the
training that it would have been, to rounding.
"""

from __future__ import annotations

import gc

import torch

from distill.options import Options
from distill.training.dropout import Dropout
from distill.training.state import Course


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what the error says, of a card or of the machine."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


def can_go_in_pieces(options: Options) -> bool:
    """Whether a batch has several pictures, and they may be computed one after the other.

    Not where parts of the LoRA drop out: those are drawn for a whole batch.
    """
    return options.train.batch_size > 1 and not Dropout(options.network).is_on


def step_down(course: Course, options: Options) -> str:
    """Let the course go on in less memory from the step that failed, and say how; "" when there is no such way.

    First without a recorded step, which keeps as much memory as another one takes; then the pictures of a batch one
    after the other, which costs hardly any time; then gradient checkpointing, about a third more.
    """
    if not course.rewind():
        return ""
    step = course.step + 1
    if course.replays:
        course.may_replay = course.replays = False
        return f"Out of memory at step {step}: it goes on without a recorded step, more slowly. Nothing is lost."
    if can_go_in_pieces(options) and not course.in_pieces:
        course.in_pieces = True
        return f"Out of memory at step {step}: it goes on with one picture of the batch at a time. Nothing is lost."
    if not (options.train.gradient_checkpointing or course.checkpoints):
        course.checkpoints = True
        return f"Out of memory at step {step}: it goes on with gradient checkpointing, more slowly. Nothing is lost."
    return ""


def tidy(device: torch.device) -> None:
    """What a failed step has left; to be called when its error is no longer held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
