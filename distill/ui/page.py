"""The stand-alone page: the Distill tab beside a small txt2img panel in place of a WebUI's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from distill.errors import CheckpointError
from distill.jobs import Jobs
from distill.ui import tab, txt2img
from distill.ui.gradio_compat import LIVE, load_head, page_arguments

ROOT = Path(__file__).resolve().parents[2]
FILES = (ROOT / "style.css", *sorted((ROOT / "javascript").glob("*.js")))  # distill.js comes first
"""Where a WebUI reads them; the page of our own reads the same."""


class OwnPage:
    """Surroundings without a WebUI."""

    name = "stand-alone"
    tabs: tuple[str, ...] = ("txt2img",)
    banner = ""

    def __init__(self, panel: txt2img.Panel) -> None:
        self._panel = panel

    def default(self, name: str) -> Any:
        """There is no settings page."""
        return None

    def bind_picture(self, image: Any, last: Any = None) -> None:
        """The picture looked at in the gallery, by the button under it or by `last`."""
        for button in (self._panel.send, last):
            if button is not None:
                button.click(_picked, [self._panel.made, self._panel.index], [image], **LIVE)

    def send_picture(self, button: Any, tab: str, image: Any) -> None:
        """There is no img2img here."""


def _picked(pictures: Sequence[Image.Image], index: int) -> Any:
    if not pictures:
        return gr.update()
    return pictures[index if index < len(pictures) else 0]


def build_page(jobs: Jobs) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page, and what its `launch` needs. Raises CheckpointError when the page's own files are missing."""
    css, javascript = _read_files()
    for_blocks, for_launch = page_arguments(css, javascript)
    with gr.Blocks(title="Distill", analytics_enabled=False, **for_blocks) as page:
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("txt2img", elem_id="tab_txt2img"):
                around = OwnPage(txt2img.draw(jobs.host))
            with gr.Tab("Distill", elem_id="tab_distill"):
                tab.build(jobs, around)
        load_head(page, css, javascript)
    return page, for_launch


def _read_files() -> tuple[str, str]:
    try:
        css, *javascript = (path.read_text("utf-8") for path in FILES)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename} can't be read.", "`distill serve` runs from the project's folder: get it whole."
        ) from error
    return css, "\n".join(javascript)
