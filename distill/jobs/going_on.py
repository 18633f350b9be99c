"""Going on with a job whose process died, or that an error ended: whether it can, and what for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distill.errors import CheckpointError, JobError
from distill.host import Loaded
from distill.jobs.job import Job, Order
from distill.jobs.journal import Journal
from distill.output import states

ENDINGS = ("cut_off", "failed")


def can_go_on(work_dir: Path, job: Job) -> bool:
    """Whether it ended against its will with a state kept. Cheap: the page asks each second."""
    return job.state in ENDINGS and (work_dir / states.FOLDER / job.id / states.ABOUT).is_file()


def order_of(work_dir: Path, journal: Journal, job: Job, loaded: Loaded) -> Order:
    """The order to go on with. Raises JobError, CheckpointError."""
    if job.active:
        raise JobError("This job is still at work.", "Stop it first, where it runs.")
    order = journal.order(job.id) if can_go_on(work_dir, job) else None
    if order is None:
        raise JobError("Nothing is kept of this job to go on from.", "Order it anew.")
    if loaded.problem:
        raise CheckpointError(loaded.problem)
    if job.checkpoint and loaded.name != job.checkpoint:
        raise CheckpointError(
            f"This job trains on {job.checkpoint}, and {loaded.name} is loaded.", f"Load {job.checkpoint}, then go on."
        )
    return replace(order, resume=True)


def forget(work_dir: Path, journal: Journal, job_id: str) -> None:
    """Nobody will go on with it. Never raises."""
    states.remove(work_dir / states.FOLDER / job_id)
    journal.forget_order(job_id)
