"""Every error that Distill raises on purpose.

    DistillError            what happened, in which state the user's things are, what to do next
    ├── PictureError        the picture can't be opened or used
    ├── CaptionError        a captioner, a caption or a name is unusable
    ├── OptionError         an option is out of its range
    ├── CheckpointError     the checkpoint is missing, damaged or of another kind
    ├── TrainingError       training could not start or had to stop
    ├── OutputError         a file could not be written or read back
    └── JobError            there is no such job, or no more jobs are taken

Only the tab, the API and the command line turn them into a toast, a status or an exit code.
"""

from __future__ import annotations


class DistillError(Exception):
    """Something the user can act on: `message` says what happened, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class PictureError(DistillError):
    """The picture can't be opened or used."""


class CaptionError(DistillError):
    """A captioner, a caption or a name is unusable."""


class OptionError(DistillError):
    """An option is out of its range."""


class CheckpointError(DistillError):
    """The checkpoint is missing, damaged or of another kind."""


class TrainingError(DistillError):
    """Training could not start or had to stop."""


class OutputError(DistillError):
    """A file could not be written or read back."""


class JobError(DistillError):
    """There is no such job, or no more jobs are taken."""
