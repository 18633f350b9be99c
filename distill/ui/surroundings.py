"""What lies around the tab: the seam towards a WebUI's other tabs, or our own page's. Types only."""

from __future__ import annotations

from typing import Any, Protocol


class Surroundings(Protocol):
    """Where pictures come from, where prompts go, and what a settings page says."""

    name: str  # for messages: "A1111", "Forge", "stand-alone"
    tabs: tuple[str, ...]  # what a LoRA can be used in: "txt2img", "img2img", "inpaint"

    @property
    def banner(self) -> str:
        """What keeps Distill from training in this environment, with the way out; "" when nothing does."""
        ...

    def default(self, name: str) -> Any:
        """The settings page's value of an option; None where it has none."""
        ...

    def bind_picture(self, image: Any, last: Any = None) -> None:
        """Wire "Distill this" buttons to our picture `image`; the button `last` takes the last generated one."""
        ...

    def send_picture(self, button: Any, tab: str, image: Any) -> None:
        """Let `button` hand our picture to "img2img" or "inpaint"."""
        ...
