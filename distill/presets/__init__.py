"""Recipes under a name: those that come with Distill, those that a person saved, and kohya's."""

from distill.presets.builtin import BUILT_IN
from distill.presets.preset import Preset, find, with_preset

__all__ = ["BUILT_IN", "Preset", "find", "with_preset"]
