"""Products by oneDNN are torch's own, however their factors lie in memory, and are taken only where they should be."""

import pytest
import torch
import torch.nn.functional as F

from distill.training.lean import blocks, products
from distill.training.lean.products import ONE_DNN, USUAL

HAS_IT = hasattr(torch.ops.mkldnn, "_linear_pointwise")
needs_one_dnn = pytest.mark.skipif(not HAS_IT, reason="this torch has no oneDNN")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lying(x):
    """The same numbers, row by row, column by column, and with gaps."""
    gaps = torch.zeros(x.shape[0], 2 * x.shape[1])
    gaps[:, : x.shape[1]] = x
    return [x.contiguous(), x.t().contiguous().t(), gaps[:, : x.shape[1]]]


@needs_one_dnn
@pytest.mark.parametrize("sizes", [(40, 24, 56), (7, 96, 5), (64, 16, 3)], ids=str)
def test_it_is_the_product_however_they_lie(sizes):
    n, k, m = sizes
    for left in lying(numbers(n, k)):
        for right in lying(numbers(k, m, seed=1)):
            expected, like = left @ right, torch.full((n, m), torch.nan)
            torch.testing.assert_close(ONE_DNN.product(left, right), expected, **CLOSE)
            torch.testing.assert_close(ONE_DNN.scaled(like, left, right, 0.25), 0.25 * expected, **CLOSE)
            torch.testing.assert_close(USUAL.scaled(like, left, right, 0.25), 0.25 * expected, **CLOSE)
            into = torch.ones(n, m)
            assert ONE_DNN.added(into, left, right) is into
            torch.testing.assert_close(into, 1 + expected, **CLOSE)


@needs_one_dnn
def test_it_is_the_linear_layer_and_a_product_of_each():
    x, weight, bias = numbers(30, 16), numbers(8, 16, seed=1), numbers(8, seed=2)
    for one in lying(weight):
        torch.testing.assert_close(ONE_DNN.linear(x, one, bias), F.linear(x, weight, bias), **CLOSE)
        torch.testing.assert_close(ONE_DNN.linear(x, one), F.linear(x, weight), **CLOSE)
    left, right = numbers(3, 8, 5), numbers(3, 5, 7, seed=1)
    for one in (left, left.transpose(1, 2).contiguous().transpose(1, 2)):
        found = ONE_DNN.each(one, right, torch.empty(3, 8, 7))
        torch.testing.assert_close(found, USUAL.each(one, right, torch.empty(3, 8, 7)), **CLOSE)


@needs_one_dnn
@pytest.mark.parametrize("sizes", [(1, 2, 70, 70), (2, 3, 64, 33)], ids=str)
def test_attention_in_blocks_is_attention_both_ways(monkeypatch, sizes):
    monkeypatch.setattr(products, "is_ahead", lambda: True)
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "BLOCK", 32 * 70)
    batch, heads, queries, keys = sizes
    shapes = ((batch, heads, queries, 8), (batch, heads, keys, 8), (batch, heads, keys, 8))
    given = [numbers(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    gradient = numbers(batch, heads, queries, 8, seed=9)
    expected = F.scaled_dot_product_attention(*given)
    found = blocks.attended(*given)
    assert type(found.grad_fn).__name__ == "_AttendBackward"
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(
        torch.autograd.grad(found, given, gradient), torch.autograd.grad(expected, given, gradient), **CLOSE
    )


def test_it_is_chosen_for_large_float32_on_a_cpu_and_where_it_is_ahead(monkeypatch):
    wide = torch.zeros(256, 256)
    monkeypatch.setattr(products, "is_ahead", lambda: True)
    assert products.chosen(wide, torch.float32) is ONE_DNN
    assert products.chosen(wide[:128], torch.float32) is USUAL
    assert products.chosen(wide, torch.float16) is USUAL
    assert products.chosen(wide.half(), torch.float32) is USUAL
    assert products.chosen(wide.to("meta"), torch.float32) is USUAL
    monkeypatch.setattr(products, "is_ahead", lambda: False)
    assert products.chosen(wide, torch.float32) is USUAL


def ahead(monkeypatch, by):
    monkeypatch.setattr(products, "_ahead_by", lambda *_: by)
    return products.is_ahead.__wrapped__()


@needs_one_dnn
def test_it_is_ahead_where_it_is_clearly_quicker(monkeypatch):
    assert ahead(monkeypatch, 2.3)
    assert not ahead(monkeypatch, 1.1)
    assert not ahead(monkeypatch, 0.5)


def test_it_is_not_ahead_where_it_is_wrong_or_missing(monkeypatch):
    right = products.OneDnn.linear
    monkeypatch.setattr(products.OneDnn, "linear", lambda *given: right(*given).bfloat16().float())
    assert not ahead(monkeypatch, 2.3)

    def missing(*_):
        raise AttributeError("_OpNamespace 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(products.OneDnn, "linear", missing)
    assert not ahead(monkeypatch, 2.3)


def test_trying_it_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    assert products.is_ahead.__wrapped__() in (True, False)
    assert torch.equal(torch.get_rng_state(), before)
