"""A LoRA as a kohya `.safetensors`, the one form that every WebUI, ComfyUI and kohya tool reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from distill.errors import OutputError
from distill.output import atomic, tensor_bytes
from distill.output.lora_layers import Layer, layer_of

PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
AGAIN = "Train it again."


@dataclass(frozen=True)
class Lora:
    """A whole LoRA: layers by their kohya names, and the file's metadata."""

    layers: dict[str, Layer]
    metadata: dict[str, str]


def kohya_name(part: str, module_path: str) -> str:
    """kohya's name of a module: `part` is "unet" or "text_encoder", the path is diffusers' or transformers'.

    transformers 5 has no `text_model.` in its paths; in LoRA files it stays.
    """
    if part == "text_encoder" and not module_path.startswith("text_model."):
        module_path = f"text_model.{module_path}"
    return PREFIXES[part] + module_path.replace(".", "_")


def unused_name(folder: Path, wished: str) -> str:
    """`wished`, or with -2, -3 ... behind it when a LoRA or an epoch of one has that name in `folder`.

    Compares without case, as Windows and macOS do; WebUIs cache by name, so none is used twice.
    """
    beside = [path for path in folder.glob("*") if path.suffix.lower() in (".safetensors", ".png", ".json")]
    # WebUIs know a LoRA by its name alone, whatever subfolder it lies in.
    taken = {path.stem.lower() for path in (*beside, *folder.rglob("*.safetensors"))}
    name, n = wished, 1
    while any(_is_of(stem, name.lower()) for stem in taken):
        n += 1
        name = f"{wished}-{n}"
    return name


def _is_of(stem: str, name: str) -> bool:
    rest = stem[len(name) :]
    epoch = rest[1:].isdigit() and rest[0] == "-" and len(rest) == 7  # name-000001
    return stem.startswith(name) and (rest in ("", ".preview") or epoch)


def save(lora: Lora, path: Path, *, precision: str = "fp16", replace: bool = False) -> None:
    """Write `lora` to `path`, which must be new unless `replace`; same layers and metadata, same bytes.

    Raises OutputError when it can't be written or has numbers that `precision` can't hold.
    """
    dtype, tensors = PRECISIONS[precision], {}
    for name, layer in lora.layers.items():
        for kind, tensor in layer.tensors().items():
            tensors[f"{name}.{kind}"] = tensor.detach().to("cpu", dtype)
        tensors[f"{name}.alpha"] = torch.tensor(layer.alpha, dtype=dtype)
    tensors = tensor_bytes.ordered(tensors)
    whole = torch.cat([tensor.flatten() for tensor in tensors.values()])
    if not whole.isfinite().all():
        broken = next(name for name, tensor in tensors.items() if not tensor.isfinite().all())
        raise OutputError(f"{broken} has numbers that are not finite in {precision}.", "Nothing was saved.")
    data = tensor_bytes.data(whole)
    hashes = {"sshs_model_hash": _model_hash(data), "sshs_legacy_hash": _legacy_hash(tensors, data, lora.metadata)}
    atomic.write(path, tensor_bytes.header(tensors, lora.metadata | hashes), data, replace=replace)


def read(path: Path) -> Lora:
    """The LoRA in `path`; raises OutputError naming what is wrong with a file that is none of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise OutputError(f"There is no LoRA {path}.", "Check the name and the folder.") from None
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{path.name} is damaged or not a safetensors file.", "Download or train it again."
        ) from error
    return Lora(_layers(path, tensors), metadata)


def verify(path: Path, lora: Lora) -> None:
    """Raises OutputError unless the file holds `lora`'s layers, finite and not all zero."""
    found = read(path).layers
    if found.keys() != lora.layers.keys():
        raise OutputError(f"{path.name} was not written whole.", AGAIN)
    for name, layer in lora.layers.items():
        got = found[name].tensors()
        for kind, tensor in layer.tensors().items():
            if kind not in got or got[kind].shape != tensor.shape:
                raise OutputError(f"{path.name} has a wrong shape at {name}.", AGAIN)
            if not got[kind].isfinite().all():
                raise OutputError(f"{path.name} has numbers at {name} that are not finite.", AGAIN)
            if not torch.equal(got[kind], tensor.detach().to("cpu", got[kind].dtype)):
                raise OutputError(f"{path.name} reads back other numbers at {name}.", AGAIN)
    if not any(all(tensor.any() for tensor in layer.tensors().values()) for layer in found.values()):
        raise OutputError(f"{path.name} changes nothing: it is all zeros.", "Train longer or raise the learning rate.")


def _layers(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, Layer]:
    kinds = {
        "dora_scale": "a DoRA",
        ".lora_mid.": "a CP-decomposed LoCon",
        "hada_t1": "a Tucker LoHa",
        "lokr_t2": "a Tucker LoKr",
    }
    for mark, kind in kinds.items():
        if any(mark in name for name in tensors):
            raise OutputError(f"{path.name} is {kind}, which is not supported.", "Use a plain LoRA.")
    named: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in sorted(tensors.items()):
        name, dot, kind = key.partition(".")
        if dot and (kind == "alpha" or kind.startswith(("lora_", "hada_", "lokr_"))):
            named.setdefault(name, {})[kind] = tensor
    named = {name: parts for name, parts in named.items() if set(parts) - {"alpha"}}
    if any(".lora_A." in name or ".lora_B." in name for name in tensors):
        raise OutputError(f"{path.name} is a LoRA with diffusers' names.", "Give a LoRA with kohya's names.")
    if not named:
        raise OutputError(f"{path.name} is not a LoRA.", "Give a LoRA with kohya's names.")
    layers = {}
    for name, parts in named.items():
        alpha = parts.pop("alpha", None)
        layer = layer_of(parts, None if alpha is None else float(alpha))
        if layer is None:
            raise OutputError(f"{path.name} is damaged at {name}.", "Download or train it again.")
        layers[name] = layer
    return layers


def _model_hash(data: memoryview) -> str:
    """sd-webui-additional-networks' hash of the weights, as kohya writes it."""
    return hashlib.sha256(data).hexdigest()


def _legacy_hash(tensors: dict[str, torch.Tensor], data: memoryview, metadata: dict[str, str]) -> str:
    """Its older one: 64 KiB from 1 MiB on, in a file with only the `ss_*` metadata."""
    kept = {name: value for name, value in metadata.items() if name.startswith("ss_")}
    head = tensor_bytes.header(tensors, kept)
    start, end = (max(0, place - len(head)) for place in (0x100000, 0x110000))
    return hashlib.sha256(head[0x100000:0x110000] + data[start:end]).hexdigest()[:8]
