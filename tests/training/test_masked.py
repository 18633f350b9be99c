"""Where the mask is 0 nothing is learned, exactly; a mask goes along with flips and colours."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from PIL import Image

from distill.host import Models
from distill.options import Options
from distill.training.adapter import attached
from distill.training.encode import DataSet, Source, encode, encode_picture
from distill.training.loop import train
from tests.models import tiny


@pytest.fixture(scope="module")
def models() -> Models:
    return tiny.small_models()


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((64, 64)).rotate(90).convert("RGB")


def left_half(level: int = 0) -> Image.Image:
    mask = Image.new("L", (64, 64), level)
    mask.paste(255, (0, 0, 32, 64))
    return mask


def encoded(models: Models, *, flip: bool = False, colours: int = 0, level: int = 0) -> DataSet:
    others = [picture().point(lambda value, i=i: value // (i + 2)) for i in range(colours)]
    source = Source(picture(), ["a woman"], mask=left_half(level), recoloured=others)
    return encode(models, [source], Options().caption, flip=flip, train_text_encoder=False)


def gradients(models: Models, data: DataSet, **given: object) -> torch.Tensor:
    """Of the loss of one step by what the UNet predicts: (B, 4, h, w)."""
    options = Options.from_flat({"repeats": 1, "epochs": 1, "batch_size": 1, "network_dim": 2, **given})
    generator, kept = torch.Generator().manual_seed(0), []

    def keep(_: object, __: object, predicted: torch.Tensor) -> None:
        predicted.retain_grad()
        kept.append(predicted)

    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(models.unet, "unet", options.network, generator))]
        stack.callback(models.unet.conv_out.register_forward_hook(keep).remove)
        next(iter(train(models, data, adapters, options, generator=generator)))
    gradient = kept[-1].grad
    assert gradient is not None
    return gradient


def test_what_is_outside_the_mask_teaches_nothing(models: Models) -> None:
    gradient = gradients(models, encoded(models))
    assert gradient.shape == (1, 4, 8, 8)
    assert (gradient[..., :4] != 0).all()
    assert (gradient[..., 4:] == 0).all()


@pytest.mark.slow
def test_the_floor_is_its_share_of_the_gradient(models: Models) -> None:
    full, masked = (gradients(models, encoded(models, level=level)) for level in (255, 51))
    torch.testing.assert_close(masked[..., :4], full[..., :4])
    torch.testing.assert_close(masked[..., 4:], full[..., 4:] * 0.2)


@pytest.mark.slow
def test_a_mirrored_draw_has_a_mirrored_mask(models: Models) -> None:
    gradient = gradients(models, encoded(models, flip=True), flip=True, batch_size=8)
    is_left, is_right = ((gradient[..., part] != 0).all(dim=(1, 2, 3)) for part in (slice(0, 4), slice(4, 8)))
    assert is_left.any()
    assert is_right.any()
    assert (is_left ^ is_right).all()


@pytest.mark.parametrize("flip", [False, True])
def test_other_colours_are_a_third_of_the_draws_each_with_its_mask(models: Models, flip: bool) -> None:
    item, plain = encoded(models, flip=flip, colours=2).items[0], encoded(models, flip=flip).items[0]
    times = 2 if flip else 1
    assert len(item.mean) == len(item.std) == 6 * times
    same = [torch.equal(row, plain.mean[i % times]) for i, row in enumerate(item.mean)]
    assert same == [True] * 4 * times + [False] * 2 * times
    assert item.mask is not None
    assert plain.mask is not None
    assert all(torch.equal(row, plain.mask[i % times]) for i, row in enumerate(item.mask))
    assert len(item.mask) == len(item.mean)
    darker, _ = encode_picture(models, picture().point(lambda value: value // 2), flip=flip)
    torch.testing.assert_close(item.mean[4 * times : 5 * times], darker)
