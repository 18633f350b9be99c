"""Distill: one picture to a single-image LoRA, trained on the SD1.5 checkpoint that is already loaded."""

__version__ = "0.1.0"
