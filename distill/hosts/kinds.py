"""What a model file is, told from the names and shapes in its header."""

from __future__ import annotations

from distill.errors import CheckpointError
from distill.hosts.tensor_file import TensorFile

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."
FIRST_CONV = UNET + "input_blocks.0.0.weight"
WANTED = "Give a full SD1.5 checkpoint."

# (a piece of a tensor's name, what a file with it is), first match counts
MARKS = (
    ("lora_up.", "a LoRA"),
    ("lora_down.", "a LoRA"),
    (".lora_A.", "a LoRA"),
    ("lora.down.", "a LoRA"),
    ("hada_w1", "a LoRA (LoHa)"),
    ("lokr_w", "a LoRA (LoKr)"),
    ("emb_params", "a textual inversion"),
    ("string_to_param", "a textual inversion"),
    ("input_hint_block", "a ControlNet"),
    ("controlnet_cond_embedding", "a ControlNet"),
    ("double_blocks.", "a Flux checkpoint"),
    ("single_transformer_blocks.", "a Flux checkpoint"),
    ("joint_blocks.", "an SD3 checkpoint"),
    ("conditioner.embedders.", "an SDXL checkpoint"),
    (UNET + "label_emb.", "an SDXL checkpoint"),
    ("cond_stage_model.model.", "an SD2 checkpoint"),
)

IN_CHANNELS = {
    9: "an inpainting checkpoint (its UNet takes 9 channels)",
    8: "an instruct-pix2pix checkpoint (its UNet takes 8 channels)",
    5: "a depth-to-image checkpoint (its UNet takes 5 channels)",
}

CONTEXTS = {1024: "an SD2 checkpoint", 2048: "an SDXL checkpoint", 1280: "an SDXL refiner checkpoint"}


def require_sd15(file: TensorFile, *, own_vae: bool = False) -> None:
    """Raises CheckpointError, naming what `file` is, unless it is an SD1.5 text-to-image checkpoint.

    With `own_vae` the VAE comes from another file and may be missing here.
    """
    kind = kind_of(file)
    if kind:
        raise CheckpointError(f"{file.path.name} is {kind}, not an SD1.5 checkpoint.", WANTED)
    if not any(name.startswith(TEXT) for name in file.entries):
        raise CheckpointError(f"{file.path.name} is a UNet alone: its text encoder is missing.", WANTED)
    if not own_vae and not any(name.startswith(VAE) for name in file.entries):
        raise CheckpointError(f"{file.path.name} has no VAE inside.", "Name a VAE file too, or give a full checkpoint.")


def context_kind(width: int) -> str:
    """What a UNet with this cross-attention width belongs to; "" for SD1.5 and narrow models of its kind."""
    return CONTEXTS.get(width, "")


def kind_of(file: TensorFile) -> str:
    """What `file` is, as "an SDXL checkpoint"; "" for SD1.5."""
    return kind_of_shapes(file.shapes)


def kind_of_shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    """What a model with these tensors is, as "an SDXL checkpoint"; "" for SD1.5. LDM names with their prefixes."""
    for mark, kind in MARKS:
        if any(mark in name for name in shapes):
            return kind
    if FIRST_CONV not in shapes:
        return _part_kind(shapes)
    channels = shapes[FIRST_CONV][1]
    if channels != 4:
        return IN_CHANNELS.get(channels, f"a checkpoint of another kind (its UNet takes {channels} channels)")
    widths = [shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")]
    return context_kind(widths[0]) if widths else "a checkpoint without cross-attention"


def _part_kind(shapes: dict[str, tuple[int, ...]]) -> str:
    names = list(shapes)
    if any(name.startswith(("down_blocks.", "up_blocks.")) for name in names):
        return "a UNet alone, in diffusers' layout"
    if any(name.startswith(("encoder.", "decoder.", VAE)) and ".layers." not in name for name in names):
        return "a VAE alone"
    if any("text_model." in name or name.startswith("encoder.layers.") for name in names):
        return "a text encoder alone"
    if names and all(len(shape) <= 2 for shape in shapes.values()) and len(names) <= 2:
        return "a textual inversion"
    return "a model of an unknown kind"
