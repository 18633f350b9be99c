"""What lies around the tab inside a WebUI: galleries to take pictures from, tabs to hand them to, the settings page."""

from __future__ import annotations

import importlib
from typing import Any

from distill.hosts.packages import problem
from distill.options import each_option

BUTTON = "⚗️"
HINT = "Distill this: train a LoRA on this picture"
SECTION = ("distill", "Distill")
SETTINGS = (
    "captioner",
    "endpoint",
    "endpoint_model",
    "identity",
    "resolution",
    "gradient_checkpointing",
    "preferred_weight",
    "keep_epochs",
    "sample_every",
    "preview",
    "save_precision",
)
"""Options whose defaults a person sets once, on the settings page."""


class WebUI:
    """One for each time the WebUI builds its pages; components are noted as the WebUI makes them."""

    tabs = ("txt2img", "img2img", "inpaint")

    def __init__(self, name: str) -> None:
        self.name = name
        self._galleries: dict[str, Any] = {}  # "txt2img" and "img2img" -> gr.Gallery
        self._buttons: dict[str, Any] = {}

    @property
    def banner(self) -> str:
        """What keeps Distill from training in this environment, with the way out; "" when nothing does."""
        return problem()

    def default(self, name: str) -> Any:
        """The settings page's value of an option, None where it has none."""
        return getattr(_shared().opts, f"distill_{name}", None) if name in SETTINGS else None

    def component_made(self, component: Any, **about: Any) -> None:
        """For `on_after_component`: note the galleries, and put our button beside those under them."""
        elem_id = about.get("elem_id") or ""
        for tab in ("txt2img", "img2img"):
            if elem_id == f"{tab}_gallery":
                self._galleries[tab] = component
            elif elem_id == f"{tab}_send_to_extras" and _shared().opts.data.get("distill_buttons", True):
                self._buttons[tab] = _tool_button(f"{tab}_send_to_distill")

    def bind_picture(self, image: Any, last: Any = None) -> None:
        """Wire "Distill this" under the galleries, and the button `last` in our tab, to our picture `image`."""
        for tab, button in self._buttons.items():
            if tab in self._galleries:
                _take(button, self._galleries[tab], image)
        if last is not None and "txt2img" in self._galleries:
            _take(last, self._galleries["txt2img"], image)

    def send_picture(self, button: Any, tab: str, image: Any) -> None:
        """Let `button` hand our picture to "img2img" or "inpaint", as the WebUI's own buttons do."""
        pasting = _pasting()
        pasting.register_paste_params_button(
            pasting.ParamBinding(paste_button=button, tabname=tab, source_image_component=image)
        )


def add_settings() -> None:
    """For `on_ui_settings`: our page, made from options/."""
    shared = _shared()
    for _, field, kind in each_option():
        if field.name in SETTINGS:
            info = shared.OptionInfo(field.default, field.metadata["label"], *_widget(field, kind), section=SECTION)
            shared.opts.add_option(f"distill_{field.name}", info.info(field.metadata["help"]))
    subfolder = shared.OptionInfo("", "Sub-folder of the Lora folder for new LoRAs", section=SECTION)
    shared.opts.add_option("distill_subfolder", subfolder.info("from the next start on"))
    buttons = shared.OptionInfo(True, "Show a Distill button beside generated pictures", section=SECTION)
    shared.opts.add_option("distill_buttons", buttons.needs_reload_ui())


def _widget(field: Any, kind: type) -> tuple[Any, ...]:
    import gradio as gr

    if field.metadata["choices"]:
        return gr.Dropdown, {"choices": list(field.metadata["choices"])}
    if kind is int:
        return gr.Number, {"precision": 0}
    return (gr.Number if kind is float else gr.Checkbox if kind is bool else gr.Textbox,)


def _tool_button(elem_id: str) -> Any:
    make = importlib.import_module("modules.ui_components").ToolButton
    return make(BUTTON, elem_id=elem_id, tooltip=HINT)


def _take(button: Any, gallery: Any, image: Any) -> None:
    import gradio as gr

    read = _pasting().image_from_url_text

    def picked(chosen: Any) -> Any:
        picture = read(chosen)
        return gr.update() if picture is None else gr.update(value=picture)  # an empty gallery takes nothing away

    button.click(
        fn=picked, _js="distillPick", inputs=[gallery], outputs=[image], show_progress=False
    )  # the WebUIs patch gradio 4 so that it still takes _js


def _pasting() -> Any:
    try:
        return importlib.import_module("modules.infotext_utils")
    except ModuleNotFoundError:  # the only name before 1.8
        return importlib.import_module("modules.generation_parameters_copypaste")


def _shared() -> Any:
    return importlib.import_module("modules.shared")
