"""What a step takes on a card, worked out without one."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gpu_memory

from distill.options import Options

CONTEXT = 0.5e9
"""Bytes for what is not counted: the driver's context and the libraries' workspaces."""


def test_the_meter_sees_what_lives_and_the_most_that_did():
    with gpu_memory.Meter() as meter:
        first = torch.empty(256, device="meta")
        shown = first.view(16, 16)
        second = torch.empty(1000, device="meta") + 1  # for a moment there are two
        assert meter.now == 1024 + 4096
        assert meter.peak == 1024 + 2 * 4096
        del first
        assert meter.now == 1024 + 4096, "the view holds it"
        del shown, second
        assert meter.now == 0


@pytest.mark.long
@pytest.mark.slow
def test_sd15_at_512_px_and_rank_16_fits_a_card_of_4_gb():
    options = Options.from_flat({"network_dim": 16, "network_alpha": 16.0, "batch_size": 1})
    lean, eager = (gpu_memory.step(options, is_lean=is_lean) for is_lean in (True, False))
    assert 2.1e9 < lean.before < 2.2e9, "UNet, text encoder, VAE, LoRA"
    assert lean.before + 0.7e9 < lean.most < 4e9 - CONTEXT
    assert lean.most < eager.most
    assert lean.operations < 0.7 * eager.operations
