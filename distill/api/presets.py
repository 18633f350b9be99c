"""Recipes by name, for a program: which there are, and one of them to train with."""

from __future__ import annotations

from typing import Any

from distill.api.answers import UNUSABLE, Refusal, without_folders
from distill.host import Host
from distill.presets import BUILT_IN, find, store


def presets_json(host: Host) -> dict[str, Any]:
    """All presets, with what in the saved ones can't be read."""
    own, problems = store.listed(store.folder_of(host.work_dir))
    return {
        "presets": [each.as_json() for each in (*BUILT_IN, *own)],
        "problems": [without_folders(problem, host) for problem in problems],
    }


def recipe_of(name: Any, host: Host) -> dict[str, Any]:
    """The options of the preset of that name, none without a name. Raises OptionError, Refusal."""
    if name is None:
        return {}
    if not isinstance(name, str):
        raise Refusal(UNUSABLE, "The preset is not a name.", "GET /distill/v1/presets lists the names.")
    return dict(find(name, store.all_presets(store.folder_of(host.work_dir))).values)
