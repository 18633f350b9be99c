"""The forms that a layer of a LoRA file has: each knows its tensors' names and the change that they make.

Hu et al. 2021 (LoRA); Yeh et al. 2023 (LoHa and LoKr, "LyCORIS").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class LoraLayer:
    """alpha / rank * up @ down; a Conv2d's tensors have two more dimensions (LoCon)."""

    down: torch.Tensor  # (rank, in) or (rank, in, kh, kw)
    up: torch.Tensor  # (out, rank) or (out, rank, 1, 1)
    alpha: float

    @property
    def rank(self) -> int:
        """The LoRA's size, kohya's network_dim."""
        return int(self.down.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it changes: (out, in) or (out, in, kh, kw)."""
        return (*self.up.shape[:1], *self.down.shape[1:])

    def tensors(self) -> dict[str, torch.Tensor]:
        """By their names in the file, without alpha."""
        return {"lora_down.weight": self.down, "lora_up.weight": self.up}

    def delta(self) -> torch.Tensor:
        """The change at weight 1, float32."""
        down, up, scale = self.down.float(), self.up.float(), self.alpha / self.rank
        if down.ndim == 2:
            return scale * up @ down
        return scale * torch.einsum("or,rihw->oihw", up[:, :, 0, 0], down)


@dataclass(frozen=True)
class ProductLayer:
    """LoHa: alpha / rank * (w1_a @ w1_b) o (w2_a @ w2_b), elementwise. LoKr: w1 (x) w2, Kronecker's product.

    A 3x3 convolution's change is flattened to (out, in * 9).
    """

    held: Tensors  # by their names in the file, without alpha
    alpha: float

    @property
    def rank(self) -> int:
        """The shared dimension of a factor that is a product itself; alpha where there is none, for a scale of 1."""
        ranks = [tensor.shape[0] for name, tensor in self.held.items() if name.endswith("_b")]
        return int(ranks[0]) if ranks else max(1, round(self.alpha))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the change: (out, in), the kernel flattened into `in`, or (out, in, kh, kw)."""
        return tuple(self.delta().shape)

    def tensors(self) -> dict[str, torch.Tensor]:
        """By their names in the file, without alpha."""
        return dict(self.held)

    def delta(self) -> torch.Tensor:
        """The change at weight 1, float32."""
        if "hada_w1_a" in self.held:
            first, second = self._factor("hada_w1"), self._factor("hada_w2")
            return self.alpha / self.rank * first * second
        first, second = self._factor("lokr_w1"), self._factor("lokr_w2")
        scale = self.alpha / self.rank
        return scale * torch.kron(first.reshape(*first.shape, *(1,) * (second.ndim - 2)), second.contiguous())

    def _factor(self, name: str) -> torch.Tensor:
        if name in self.held:
            return self.held[name].float()
        return self.held[f"{name}_a"].float() @ self.held[f"{name}_b"].float()


Layer = LoraLayer | ProductLayer


def layer_of(tensors: Tensors, alpha: float | None = None) -> Layer | None:
    """The layer with these tensors, named as in a file; None when they are no whole one.

    Without `alpha` the scale is 1.
    """
    if "lora_down.weight" in tensors:
        down, up = tensors["lora_down.weight"], tensors.get("lora_up.weight")
        if up is None or up.ndim != down.ndim or up.shape[1] != down.shape[0]:
            return None
        return LoraLayer(down, up, float(down.shape[0] if alpha is None else alpha))
    for name in ("hada_w1", "hada_w2") if "hada_w1_a" in tensors else ("lokr_w1", "lokr_w2"):
        if name not in tensors and not {f"{name}_a", f"{name}_b"} <= set(tensors):
            return None
    layer = ProductLayer(dict(tensors), 1.0)
    return ProductLayer(layer.held, float(layer.rank if alpha is None else alpha))
