"""The words that call a LoRA, for the epoch and the weight that were chosen."""

from __future__ import annotations

from distill.jobs import Job

WORDS = ((0.4, "hints"), (0.6, "varies"), (0.8, "removes"), (1.0, "replicates"))
"""What users of single-image LoRAs say that a weight does."""


def block(job: Job, lora: str, weight: float) -> str:
    """The captions and `<lora:...>`; "" while there is nothing to call."""
    if not lora or not any(saved.path.stem == lora for saved in job.saved):
        return ""
    return ", ".join((*job.tags, f"<lora:{lora}:{weight:g}>"))
