"""Prompts become what the UNet was trained on, cached or live, with any clip skip."""

import pytest
import torch

from distill.conditioning import for_vae, hidden_states, tokenize
from tests.models import tiny


def test_tokens_are_padded_with_the_end_as_sd15_was_trained():
    ids = tokenize(tiny.tokenizer(), ["red hair", "red hair, " * 60])
    assert ids.shape == (2, 1, 77)
    assert ids[0, 0, :4].tolist() == [49406, 736, 2225, 49407]
    assert set(ids[0, 0, 4:].tolist()) == {49407}
    assert ids[1, 0, -1] == 49407  # cut off, yet ended


@torch.no_grad()
def test_clip_skip_takes_earlier_layers_and_normalizes():
    encoder = tiny.text_encoder()
    ids = tokenize(tiny.tokenizer(), ["a woman", "red hair"])
    assert hidden_states(encoder, ids).shape == (2, 77, tiny.WIDTH)
    layers = encoder(ids[:, 0], output_hidden_states=True).hidden_states
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    torch.testing.assert_close(hidden_states(encoder, ids, 1), norm(layers[-1]))
    torch.testing.assert_close(hidden_states(encoder, ids, 2), norm(layers[-2]))
    assert not torch.allclose(hidden_states(encoder, ids, 2), hidden_states(encoder, ids, 1))


@pytest.mark.parametrize("text", ["", "прекрасная", "*" * 500, "👩‍🎨"])
@torch.no_grad()
def test_any_text_is_accepted(text):
    states = hidden_states(tiny.text_encoder(), tokenize(tiny.tokenizer(), [text]))
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("batch", [1, 2])
def test_pixels_lie_as_the_vae_is_quickest_with(batch):
    vae = torch.nn.Conv2d(3, 4, 3, dtype=torch.float64)
    pixels = torch.rand(batch, 8, 10, 3).permute(0, 3, 1, 2)[:, :, ::2]
    given = for_vae(vae, pixels)
    assert torch.equal(given, pixels.double())
    assert given.stride() == (4 * 10 * 3, 1, 10 * 3, 3)  # of one picture, too: torch looks at all of them
    assert vae(given).stride()[1] == 1  # and goes on with it
