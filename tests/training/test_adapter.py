"""LoRA goes in, trains, and comes out without a trace."""

import pytest
import torch
from torch import nn

from distill.errors import TrainingError
from distill.options import NetworkOptions
from distill.training.adapter import attached, weighted
from tests.models import tiny

SIZES = NetworkOptions(network_dim=4, network_alpha=2.0)
PARTS = {"unet": tiny.outer_unet, "text_encoder": tiny.text_encoder}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fingerprint(module):
    """Everything that must be as before: types, modes, attributes, gradients wanted, bits."""
    return (
        [(path, type(m), m.training, sorted(vars(m))) for path, m in module.named_modules()],
        [(name, p.requires_grad, p.grad is None) for name, p in module.named_parameters()],
    ), {name: p.detach().clone() for name, p in module.named_parameters()}


def assert_untouched(module, before):
    shape, weights = fingerprint(module)
    assert shape == before[0]
    assert all(torch.equal(weights[name], before[1][name]) for name in before[1])


@pytest.mark.parametrize("part", PARTS)
def test_module_is_as_it_was_afterwards(part):
    module = PARTS[part]()
    before = fingerprint(module)
    with attached(module, part, SIZES, seeded()) as adapter:
        assert all(p.requires_grad and p.dtype == torch.float32 for p in adapter.parameters())
        assert not any(p.requires_grad for name, p in module.named_parameters() if "lora_" not in name)
        adapter.parameters()[1].data.fill_(1)
    assert_untouched(module, before)


def test_module_is_as_it_was_after_an_error():
    module = tiny.outer_unet().train().requires_grad_(True)  # as A1111 keeps it
    before = fingerprint(module)
    with pytest.raises(ZeroDivisionError), attached(module, "unet", SIZES, seeded()):
        raise ZeroDivisionError
    assert_untouched(module, before)


def test_every_layer_of_the_transformers_is_found():
    module = tiny.unet()
    blocks = [m for m in module.modules() if type(m).__name__ == "BasicTransformerBlock"]
    with attached(module, "unet", SIZES, seeded()) as adapter:
        assert len(adapter.layers) == 12 * len(blocks)  # 2 x (q, k, v, out), 2 of the feed-forward, proj_in and out


def test_fresh_lora_changes_nothing_and_follows_the_generator():
    module = tiny.outer_unet()
    inputs = torch.randn(1, 4, 8, 8, generator=seeded()), torch.tensor([5]), torch.randn(1, 77, tiny.WIDTH)
    with torch.no_grad():
        plain = module(*inputs).sample
        with attached(module, "unet", SIZES, seeded(1)) as adapter:
            assert torch.equal(module(*inputs).sample, plain)
            first = adapter.weights()
        with attached(module, "unet", SIZES, seeded(1)) as adapter:
            again = adapter.weights()
        with attached(module, "unet", SIZES, seeded(2)) as adapter:
            other = adapter.weights()
    path = next(iter(first))
    down, up = "lora_down.weight", "lora_up.weight"
    assert torch.equal(first[path][down], again[path][down])
    assert not torch.equal(first[path][down], other[path][down])
    assert first[path][down].shape[0] == 4
    assert torch.count_nonzero(first[path][up]) == 0


def test_the_global_generator_is_left_alone():
    module = tiny.outer_unet()
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    with attached(module, "unet", SIZES, seeded()):
        pass
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_module_without_targets_is_refused():
    with pytest.raises(TrainingError, match="Found no layers"):
        attached(nn.Sequential(nn.Linear(2, 2)), "unet", SIZES, seeded()).__enter__()


def test_a_weight_scales_the_lora_and_is_taken_back():
    unet = tiny.outer_unet()
    inputs = torch.ones(1, 4, 8, 8), torch.tensor([500]), torch.ones(1, 77, tiny.WIDTH)
    with (
        torch.no_grad(),
        attached(unet, "unet", NetworkOptions(network_dim=4, network_alpha=4.0), torch.Generator()) as adapter,
    ):
        bare = unet(*inputs).sample
        for weight in adapter.parameters():
            weight.fill_(0.02)
        full = unet(*inputs).sample
        with weighted([adapter], 0.0):
            assert torch.equal(unet(*inputs).sample, bare)
        with weighted([adapter], 0.5):
            assert not torch.equal(unet(*inputs).sample, full)
        assert torch.equal(unet(*inputs).sample, full)
        assert not torch.equal(full, bare)
