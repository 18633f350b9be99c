"""A small txt2img panel for the stand-alone page, with the ids that a WebUI's own has."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from distill.errors import DistillError
from distill.host import Host
from distill.options import Options
from distill.output.sampling import generate
from distill.ui import html
from distill.ui.gradio_compat import LIVE, SLOW
from distill.ui.gradio_compat import html as text
from distill.ui.options_form import coerced

_FIELDS = (("negative", str), ("sample_steps", int), ("cfg_scale", float), ("width", int), ("height", int))
_MORE = (("count", int), ("sample_seed", int))


@dataclass
class Panel:
    """The components that others use."""

    made: Any  # gr.State: the pictures of the last prompt
    index: Any  # gr.State: which of them is looked at
    send: Any  # "Distill this"


def draw(host: Host) -> Panel:
    """The panel inside the gr.Blocks that is open."""
    native_px = host.loaded().native_px
    with gr.Row(elem_id="txt2img_panel"):
        with gr.Column(scale=6, min_width=300):
            prompt = gr.Textbox(label="Prompt", lines=3, elem_id="txt2img_prompt")
            inputs: list[Any] = [prompt, gr.Textbox(label="Negative prompt", lines=2, elem_id="txt2img_neg_prompt")]
            with gr.Row():
                inputs.append(gr.Slider(1, 60, value=25, step=1, label="Steps", elem_id="txt2img_steps"))
                inputs.append(gr.Slider(1, 15, value=5, step=0.5, label="CFG scale", elem_id="txt2img_cfg_scale"))
            with gr.Row():
                for side in ("Width", "Height"):
                    at = f"txt2img_{side.lower()}"
                    inputs.append(gr.Slider(64, 1024, value=native_px, step=8, label=side, elem_id=at))
            with gr.Row():
                inputs.append(gr.Slider(1, 8, value=1, step=1, label="Pictures", elem_id="txt2img_batch_count"))
                inputs.append(gr.Number(value=1, precision=0, label="Seed", elem_id="txt2img_seed"))
            button = gr.Button("Generate", variant="primary", elem_id="txt2img_generate")
            message = text("", elem_id="txt2img_message")
        with gr.Column(scale=5, min_width=300):
            gallery = gr.Gallery(
                label="Pictures made", columns=2, height=400, object_fit="contain", elem_id="txt2img_gallery"
            )
            send = gr.Button("Distill this", elem_id="txt2img_send_to_distill")
            library = text(html.choices(_names(host.lora_dir)), elem_id="txt2img_library")
            refresh = gr.Button("Refresh", elem_id="txt2img_lora_extra_refresh", elem_classes=["distill-hidden"])
    made, index = gr.State([]), gr.State(0)
    makes = _Makes(host)
    button.click(makes, inputs, [gallery, made, index, message], **SLOW)
    refresh.click(lambda: html.choices(_names(host.lora_dir)), None, [library], **LIVE)
    gallery.select(_selected, None, [index], **LIVE)
    return Panel(made, index, send)


def _selected(event: gr.SelectData) -> Any:
    return event.index


_EPOCH = re.compile(r"-\d{6}$")


def _names(lora_dir: Path) -> list[str]:
    """LoRAs to choose from; a LoRA's epochs are found in the Distill tab."""
    try:
        names = {path.stem for path in lora_dir.rglob("*.safetensors")}
    except OSError:
        return []
    return sorted(name for name in names if _EPOCH.sub("", name) == name or _EPOCH.sub("", name) not in names)


class _Makes:
    """Prompt and settings -> gallery, pictures, the one looked at, what went wrong."""

    def __init__(self, host: Host) -> None:
        self._host = host

    __name__ = "generate"  # gradio asks for it

    def __call__(self, prompt: str, *values: Any) -> tuple[Any, ...]:
        try:
            named = zip((*_FIELDS, *_MORE), values)
            flat = {name: coerced(name, kind, value) for (name, kind), value in named}
            pictures, remarks = self._made(prompt or "", Options.from_flat(flat))
        except DistillError as error:
            return gr.update(), gr.update(), gr.update(), html.problem(error.message, error.hint)
        return pictures, pictures, 0, html.notes(remarks)

    def _made(self, prompt: str, options: Options) -> tuple[list[Image.Image], list[str]]:
        with warnings.catch_warnings(record=True) as said, self._host.turn("txt2img", "txt2img"):
            warnings.simplefilter("default", UserWarning)
            with self._host.borrow() as models:
                pictures = generate(models, prompt, options.sample, lora_dir=self._host.lora_dir)
        return pictures, [str(w.message) for w in said if "tokens" in str(w.message)]
