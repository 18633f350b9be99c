"""What differs between gradio 3.41, 4.40 and 6: nothing else asks for a version."""

from __future__ import annotations

import inspect
import json
from abc import ABCMeta
from typing import Any

import gradio as gr

from distill.errors import PictureError
from distill.image.loading import load

_MAJOR = int(gr.__version__.split(".")[0])
_HIDDEN: dict[str, Any] = {"api_visibility": "private"} if _MAJOR >= 6 else {"api_name": False}

LIVE: dict[str, Any] = {"queue": False, "show_progress": "hidden", **_HIDDEN}
"""For events that answer at once and must not flicker: past the queue, no spinner, not in the API."""

LATEST: dict[str, Any] = {"trigger_mode": "always_last"} if _MAJOR >= 4 else {}
"""For a press that counts even while the one before is being answered; gradio 3 takes each."""

SLOW: dict[str, Any] = {"show_progress": "minimal", **_HIDDEN}
"""For events that may take a while."""


def _preprocess(self: Any, value: Any) -> Any:
    """What the page sends, as a Pillow image; where that fails, the reason as a value, to be said by the picture."""
    try:
        return gr.Image.preprocess(self, value)
    except Exception as error:  # noqa: BLE001 - gradio's own differ from version to version
        return _reason(value, error)


def _make_class() -> Any:
    """A gr.Image that answers a file that is no picture in our words.

    Not by a class statement: for one, gradio 4's metaclass writes a .pyi file into this folder.
    """
    kind: Any = type(gr.Image)
    make: Any = ABCMeta.__new__ if issubclass(kind, ABCMeta) else type.__new__
    members = {"__module__": __name__, "preprocess": _preprocess, "get_block_name": lambda self: "image"}
    return make(kind, "Picture", (gr.Image,), members)


_Picture = _make_class()


def picture(**arguments: Any) -> Any:
    """The component for one picture, alpha kept."""
    if _MAJOR >= 4:
        arguments |= {"sources": ["upload", "clipboard"]}
    return _Picture(type="pil", image_mode="RGBA", interactive=True, **arguments)


def html(value: str, **arguments: Any) -> Any:
    """gr.HTML that style.css alone dresses."""
    if "apply_default_css" in inspect.signature(gr.HTML.__init__).parameters:
        arguments["apply_default_css"] = False
    return gr.HTML(value, **arguments)


def _reason(value: Any, error: Exception) -> PictureError:
    try:
        path = getattr(value, "path", None)
        if path:
            load(open(path, "rb").read())  # noqa: SIM115
        elif isinstance(value, str):
            import base64

            load(base64.b64decode(value.partition(",")[2]))
    except PictureError as reason:
        return reason
    except (OSError, ValueError):
        pass
    return PictureError(f"The picture can't be read: {error}.", "Save it as PNG or JPEG and choose it again.")


def page_arguments(css: str, javascript: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(for gr.Blocks, for launch). The style goes into the head: gradio would rewrite its selectors, and not well."""
    theme = {"theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])}
    head = {"head": f"<style>{css}</style><script>{javascript}</script>"}
    if "head" in inspect.signature(gr.Blocks.launch).parameters:
        return {}, theme | head
    if "head" in inspect.signature(gr.Blocks.__init__).parameters:
        return theme | head, {}
    return theme, {}


def load_head(page: gr.Blocks, css: str, javascript: str) -> None:
    """gradio 3 has no `head`: put both there when the page has loaded. Inside the page's Blocks."""
    if _MAJOR < 4:
        style = (
            f"document.head.append(Object.assign(document.createElement('style'), {{textContent: {json.dumps(css)}}}));"
        )
        load: Any = page.load  # with gradio 3's word for it
        load(fn=None, _js=f"() => {{ {style} {javascript} }}")
