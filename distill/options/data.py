"""Settings of the picture and its captions."""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import OptionError
from distill.options.setting import Checked, option


@dataclass(frozen=True, kw_only=True)
class PictureOptions(Checked, title="Picture options"):
    """How the picture becomes the training picture."""

    resolution: int = option(
        0, "Resolution", "Training edge in pixels, a multiple of 64; 0 takes the checkpoint's own.", ge=0, le=1024
    )
    crop: str = option(
        "square",
        "Crop",
        "square cuts the middle (upper part of a tall picture); aspect keeps the shape in steps of 64.",
        choices=("square", "aspect"),
    )
    upscaler: str = option(
        "none",
        "Upscale first",
        "none, lanczos, one of the WebUI's upscalers or a model file; only where there are too few pixels.",
        private=True,
    )
    views: str = option(
        "",
        "Views",
        "Cuts that are trained beside the whole picture: full body, cowboy shot, upper body, lower body, face, bangs,"
        " head out of frame; all proposes every one.",
    )
    view_min_px: int = option(
        320, "Smallest view", "Views with fewer pixels on their shorter edge are left out.", ge=64, le=1024
    )
    mask: str = option(
        "auto",
        "Subject mask",
        "Where the loss counts in full. auto: what you drew, else the picture's transparency; remover: rembg finds it.",
        choices=("auto", "none", "drawn", "alpha", "remover"),
    )
    unmasked_weight: float = option(
        0.1, "Weight outside the mask", "What the background counts; 0 leaves it out.", ge=0, le=1
    )
    mask_dilation: int = option(
        8, "Widen the mask", "In training pixels, so that thin details are not lost.", ge=0, le=128
    )
    background: str = option(
        "keep",
        "Background",
        "keep, or put a plain one behind the masked subject and say so in its captions.",
        choices=("keep", "white", "grey", "black"),
    )
    color_aug: bool = option(
        False, "Colour augmentation", "Some draws see slightly other hues or brightness, so colours are held less."
    )
    captioned_aug: str = option(
        "",
        "Captioned augmentation",
        "Altered copies whose captions say so: close-up, on the left, on the right, far away, grayscale; all of them.",
    )
    encode_ahead: bool = option(
        True, "Encode at once", "The tab encodes the picture while you write its captions, so training starts sooner."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution % 64:
            raise OptionError(f"Resolution is {self.resolution}.", "Choose a multiple of 64, or 0.")


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(Checked, title="Caption options"):
    """What the training captions look like."""

    captioner: str = option(
        "auto",
        "Captioner",
        "auto, none, a captioner's name, or a folder with a model; several joined with + are merged.",
        private=True,
    )
    endpoint: str = option(
        "",
        "Endpoint",
        "Address of a server that speaks OpenAI's protocol, such as http://127.0.0.1:11434/v1 (Ollama).",
        private=True,
    )
    endpoint_model: str = option(
        "", "Endpoint model", "A vision model of that server; empty takes the first one.", private=True
    )
    identity: str = option(
        "changeable",
        "Identity",
        "changeable: hair, eyes, face and body are captions too; locked: they are left out, so the trigger holds them.",
        choices=("changeable", "locked"),
    )
    trigger: str = option("", "Trigger", "The words that call the subject; empty makes two rare ones.")
    keep_tokens: int = option(1, "Keep tokens", "How many first tags stay in front when shuffling.", ge=0, le=75)
    shuffle: bool = option(True, "Shuffle captions", "Another order of the tags for each draw.")
    tag_dropout: float = option(
        0.0,
        "Tag dropout",
        "Chance of each tag to be left out of a draw; the first ones that are kept stay.",
        ge=0,
        le=1,
    )
    caption_dropout: float = option(
        0.0, "Caption dropout", "Chance of a draw without any caption; the picture leaks into every prompt.", ge=0, le=1
    )
    max_token_length: int = option(
        75,
        "Caption length",
        "Tokens that are read of a caption: 75, 150 or 225. More is read in chunks.",
        ge=75,
        le=225,
    )
    clip_skip: int = option(1, "Clip skip", "Use the text encoder's last layer (1) or an earlier one.", ge=1, le=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_token_length % 75:
            raise OptionError(f"Caption length is {self.max_token_length}.", "Choose 75, 150 or 225.")
