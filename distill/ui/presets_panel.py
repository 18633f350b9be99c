"""Recipes by name in the tab: choose, save, delete, export, import."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from distill import goals, recipe
from distill.errors import DistillError, OptionError
from distill.jobs import Jobs
from distill.presets import BUILT_IN, Preset, files, find, store, with_preset
from distill.ui import html, options_form
from distill.ui.gradio_compat import LIVE
from distill.ui.gradio_compat import html as text

GOALS = tuple(goal.label for goal in goals.GOALS)


def draw(parts: dict[str, Any]) -> None:
    """The row under the goals; the goals are the four presets that are most often wanted."""
    names = [each.name for each in BUILT_IN]
    parts["preset"] = _not_kept(gr.Dropdown(names, value=goals.DEFAULT, label="Preset", elem_id="distill_preset"))
    parts["goal_help"] = text(html.cost(goals.goal(goals.DEFAULT).help), elem_id="distill_goal_help")
    with gr.Accordion("Presets of your own", open=False, elem_id="distill_preset_own"):
        with gr.Row(elem_classes=["distill-line"]):
            box = gr.Textbox(
                label="Name of the preset",
                placeholder="for Save and Import",
                max_lines=1,
                elem_id="distill_preset_name",
            )
            parts["preset_name"] = _not_kept(box)
            parts["preset_save"] = gr.Button("Save", size="sm", scale=0, min_width=90, elem_id="distill_preset_save")
        with gr.Row(elem_classes=["distill-line"], elem_id="distill_preset_row"):
            parts["preset_import"] = gr.UploadButton("Import", size="sm", min_width=90, elem_id="distill_preset_import")
            for name, label in BUTTONS.items():
                parts[name] = gr.Button(label, size="sm", min_width=90, elem_id=f"distill_{name}")
    parts["preset_said"] = text("", elem_id="distill_preset_said")
    parts["preset_file"] = text("", elem_id="distill_preset_file", elem_classes=["distill-hidden"])
    parts["preset_list"] = gr.Button("List", elem_id="distill_preset_list", elem_classes=["distill-hidden"])


BUTTONS = {"preset_export": "Export", "preset_kohya": "Export for kohya", "preset_delete": "Delete preset"}


def connect(parts: dict[str, Any], widgets: Sequence[Any], jobs: Jobs, *follows: dict[str, Any]) -> None:
    """`follows` are the events that come when options have changed."""
    does = Presets(jobs)
    chosen = [parts["preset"], parts["goal"], parts["goal_help"], parts["preset_said"], *widgets]
    named, said = [parts["preset"], parts["preset_name"]], parts["preset_said"]
    _then(parts["goal"].input(does.choose, [parts["goal"]], chosen, **LIVE), follows)
    _then(parts["preset"].input(does.choose, [parts["preset"]], chosen, **LIVE), follows)
    parts["preset_list"].click(does.refresh, [parts["preset"]], [parts["preset"], said], **LIVE)
    parts["preset_save"].click(does.save, [parts["preset_name"], *widgets], [*named, said], **LIVE)
    parts["preset_delete"].click(does.delete, [parts["preset"]], chosen, **LIVE)
    written = [parts["preset_file"], said]
    parts["preset_export"].click(does.export, [parts["preset"], *widgets], written, **LIVE)
    parts["preset_kohya"].click(does.export_for_kohya, [parts["preset"], *widgets], written, **LIVE)
    uploaded = [parts["preset_import"], parts["preset_name"]]
    _then(parts["preset_import"].upload(does.upload, uploaded, chosen, **LIVE), follows)


def _then(event: Any, follows: Sequence[dict[str, Any]]) -> None:
    for each in follows:
        event = event.then(**each)


class Presets:
    """Bound to the process's jobs, whose host has the folder."""

    def __init__(self, jobs: Jobs) -> None:
        self._folder = store.folder_of(jobs.host.work_dir)

    def choose(self, name: str) -> list[Any]:
        """-> preset, goal, help, what is to be said, then the widgets of the options."""
        try:
            return self._shown(find(name or "", store.all_presets(self._folder)), ())
        except DistillError as error:
            return _unchanged(error)

    def refresh(self, name: str) -> tuple[Any, str]:
        """The page was opened -> all there are now, and what in the saved ones can't be read."""
        problems = store.listed(self._folder)[1]
        return self._list(name), html.notes(problems)

    def save(self, name: str, *values: Any) -> tuple[Any, Any, str]:
        """The options as they are, under a new name -> preset, name, what is to be said."""
        try:
            kept = store.save(self._folder, name or "", options_form.read(values))
        except DistillError as error:
            return gr.update(), gr.update(), html.problem(error.message, error.hint)
        return self._list(kept.name), "", html.notes([f"Saved as {kept.name}."])

    def delete(self, name: str) -> list[Any]:
        """-> as `choose`; the options stay as they are."""
        try:
            gone = store.delete(self._folder, name or "")
        except DistillError as error:
            return _unchanged(error)
        return [self._list(None), *_same(2), html.notes([f"Deleted {gone}."]), *_same(len(options_form.NAMES))]

    def export(self, name: str, *values: Any) -> tuple[Any, str]:
        """-> a file for the page to hand over, what is to be said."""
        return self._export(name, values, False)

    def export_for_kohya(self, name: str, *values: Any) -> tuple[Any, str]:
        """The same, as kohya_ss opens it."""
        return self._export(name, values, True)

    def _export(self, name: str, values: Sequence[Any], for_kohya: bool) -> tuple[Any, str]:
        try:
            chosen = find(name or "", store.all_presets(self._folder))
            now = recipe.of_options(options_form.read(values))
        except DistillError as error:
            return gr.update(), html.problem(error.message, error.hint)
        data, notes = files.exported(chosen, for_kohya=for_kohya)
        changed = [recipe.LABELS[key] for key in now if now[key] != chosen.values[key]]
        if changed:
            notes = (f"Without what you changed since: {', '.join(changed)}. Save it as a preset first.", *notes)
        about = {"name": f"{chosen.name}{' (kohya)' if for_kohya else ''}.json", "text": data.decode()}
        return html.data("file", {**about, "at": time.time()}), html.notes(notes)

    def upload(self, file: Any, name: str) -> list[Any]:
        """A file of ours or of kohya's -> as `choose`."""
        try:
            path = Path(file if isinstance(file, (str, Path)) else file.name)  # gradio 3 gives an open file
            read, notes = files.imported(_read(path), path.name, name or "")
            store.save(self._folder, read.name, with_preset(read, {}))
        except DistillError as error:
            return _unchanged(error)
        return self._shown(read, (f"Imported as {read.name}.", *notes))

    def _shown(self, chosen: Preset, notes: Sequence[str]) -> list[Any]:
        goal = chosen.name if chosen.name in GOALS else None
        return [
            self._list(chosen.name),
            gr.update(value=goal),
            html.cost(chosen.help),
            html.notes(notes),
            *options_form.updates(chosen.values, options_form.NAMES),
        ]

    def _list(self, name: str | None) -> Any:
        names = [each.name for each in store.all_presets(self._folder)]
        return gr.update(choices=names, value=name if name in names else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"{path.name} can't be read: {error.strerror}.", "Choose it again.") from error


def _same(count: int) -> list[Any]:
    return [gr.update() for _ in range(count)]


def _unchanged(error: DistillError) -> list[Any]:
    return [*_same(3), html.problem(error.message, error.hint), *_same(len(options_form.NAMES))]


def _not_kept(component: Any) -> Any:
    """What a person chooses for one picture is no default to be kept in the WebUI's ui-config.json."""
    component.do_not_save_to_config = True
    return component
