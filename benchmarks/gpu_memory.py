"""How much of a card's memory a step takes with an fp16 SD1.5, and how many operations, worked out without a card.

    python benchmarks/gpu_memory.py

The step is the real one, on tensors without data ("meta"), which have the sizes that they would have on a card; counted
is each storage from its making to its end, in the 512 bytes that CUDA's allocator rounds to. CUDA's autocast does not
work there and is done by its lists. Not in it: the driver's context, the libraries' workspaces, gaps between blocks.
"""

from __future__ import annotations

import argparse
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from distill.options import Options
from distill.training import optimizers, passes, starts
from distill.training.adapter import attached
from distill.training.lean import lean
from distill.training.loop import training_mode

BLOCK = 512
META = torch.device("meta")
HALF = (F.linear, torch.addmm, torch.mm, torch.bmm, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)
HALF += (F.conv2d, torch.conv2d, F.scaled_dot_product_attention)
FULL = (F.group_norm, torch.group_norm, F.layer_norm, torch.layer_norm, F.softmax, F.mse_loss)
"""Of the operations in a step, those that CUDA's autocast computes in float16 and those in float32."""


class Autocast(TorchFunctionMode):
    """CUDA's, for float16."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        dtype = torch.float16 if func in HALF else torch.float32 if func in FULL else None
        if dtype is not None:

            def cast(tensor: torch.Tensor) -> torch.Tensor:
                return tensor.to(dtype) if tensor.is_floating_point() else tensor

            args, kwargs = tree_map_only(torch.Tensor, cast, (args, kwargs))
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args)[0]
        return func(*args, **(kwargs or {}))


class Meter(TorchDispatchMode):
    """What lives, in bytes, and the most that did; how many operations there were that are no mere views."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.operations = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        self.operations += not func.is_view
        tree_map_only(torch.Tensor, self._count, answer)
        return answer

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if tensor.device != META or storage in self._known:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._known.add(storage)
        weakref.finalize(storage, self._gone, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _gone(self, size: int) -> None:
        self.now -= size


@contextmanager
def sizes_only() -> Iterator[None]:
    """Modules are made in float16 without data, and a LoRA without drawn numbers."""
    names = ("uniform_", "normal_", "kaiming_uniform_", "zeros_", "ones_", "xavier_uniform_")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(torch.nn.init, name, lambda tensor, *_, **__: tensor))
        stack.enter_context(mock.patch.dict(starts.FORMS, lora=lambda *_: None))
        yield


def made(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A module in float16 without data."""
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device(META):
            return make().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)


def model() -> SimpleNamespace:
    """SD1.5: everything that a WebUI has on the card."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    wide = (128, 256, 512, 512)
    coders = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    words = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    return SimpleNamespace(
        unet=made(lambda: UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)),
        vae=made(lambda: AutoencoderKL(block_out_channels=wide, layers_per_block=2, latent_channels=4, **coders)),
        text_encoder=made(lambda: CLIPTextModel(CLIPTextConfig(**words))),
        dtype=torch.float16,
        device=META,
    )


@dataclass(frozen=True)
class Step:
    """What the second step of a training takes."""

    before: float  # bytes that lie on the card all the time
    most: float  # bytes at once
    operations: int  # forward and back, without the optimizer's


def step(options: Options, *, edge_px: int = 512, is_lean: bool = True) -> Step:
    """That of SD1.5 with the options' LoRA of the UNet."""
    batch, latents = options.train.batch_size, (options.train.batch_size, 4, edge_px // 8, edge_px // 8)
    with Meter() as meter, sizes_only(), ExitStack() as stack:
        models = model()
        adapter = stack.enter_context(attached(models.unet, "unet", options.network, torch.Generator()))
        optimizer = optimizers.make([adapter], options.train)
        states = torch.empty(batch, 77, 768, device=META)
        data: Any = SimpleNamespace(encoder_hidden_states=SimpleNamespace(of=lambda _: states))
        stack.enter_context(mock.patch.object(passes, "_computing", return_value=Autocast()))
        stack.enter_context(mock.patch.object(torch, "autocast", return_value=nullcontext()))  # where it is put off
        # What is computed once more is cast as it was the first time.
        again = partial(checkpoint.checkpoint, context_fn=lambda: (nullcontext(), Autocast()))
        stack.enter_context(mock.patch.object(checkpoint, "checkpoint", again))
        stack.enter_context(training_mode(models, options.train.gradient_checkpointing))
        if is_lean:
            stack.enter_context(lean(models, [adapter], options))
        before = meter.now
        for _ in range(2):  # the optimizer has its means from the first one on
            meter.peak, meter.operations = meter.now, 0
            noisy, target = torch.empty(latents, device=META), torch.empty(latents, device=META)
            timesteps, weights = torch.zeros(batch, dtype=torch.long, device=META), torch.ones(batch, device=META)
            noise_pred = passes.prediction(models, data, 1, noisy, timesteps, torch.zeros(batch, dtype=torch.long))
            loss = passes.loss_of(noise_pred, target, weights, None)
            del noise_pred
            loss.backward()
            operations = meter.operations
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return Step(before, meter.peak, operations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16)
    rank = parser.parse_args().rank
    print("| px | batch | | before, GB | at most, GB | operations |\n| --- | --- | --- | --- | --- | --- |")
    cases: list[tuple[int, int, str]] = [(512, 1, ""), (512, 1, "as peft has it"), (512, 1, "checkpointing")]
    for edge_px, batch, how in [*cases, (512, 2, ""), (512, 2, "checkpointing"), (512, 4, ""), (768, 1, "")]:
        flat = {"network_dim": rank, "network_alpha": float(rank), "batch_size": batch}
        options = Options.from_flat({**flat, "gradient_checkpointing": how == "checkpointing"})
        of = step(options, edge_px=edge_px, is_lean=how != "as peft has it")
        gb = f"{of.before / 1e9:.2f} | {of.most / 1e9:.2f}"
        print(f"| {edge_px} | {batch} | {how} | {gb} | {of.operations} |", flush=True)


if __name__ == "__main__":
    main()
