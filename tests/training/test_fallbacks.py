"""What can't run here is said, and something that can takes its place."""

import pytest
import torch

from distill.options import TrainOptions
from distill.training.fallbacks import runnable


def test_what_runs_stays_as_it_is():
    options = TrainOptions(optimizer="lion")
    assert runnable(options, torch.device("cpu")) == (options, ())


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_adamw8bit_is_adamw_without_cuda(device):
    options, notes = runnable(TrainOptions(optimizer="adamw8bit", unet_lr=3e-4), torch.device(device))
    assert options == TrainOptions(optimizer="adamw", unet_lr=3e-4)
    assert notes == (f"AdamW8bit can't run here (it needs CUDA, and this is {device}): AdamW takes its place.",)


def test_and_without_bitsandbytes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    options, (note,) = runnable(TrainOptions(optimizer="adamw8bit"), torch.device("cuda"))
    assert options.optimizer == "adamw"
    assert "bitsandbytes can't be used" in note
