"""The same picture and captions are encoded once, with the same result to the bit; what could differ is not kept."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from diffusers.models.autoencoders.vae import Encoder
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook
from transformers import CLIPTextModel

from distill.host import Models
from distill.options import Options
from distill.training import embeddings
from distill.training import encode as encoding
from distill.training.encode import DataSet, Source, encode
from distill.training.encoded import Memory
from tests.models import tiny

WORDS = ["fip zor woman, red hair", "fip zor woman"]


@pytest.fixture(scope="module")
def lent() -> Models:
    return tiny.small_models(sha256="of a file")


@pytest.fixture
def models(lent: Models, monkeypatch: pytest.MonkeyPatch) -> Models:
    memory = Memory()
    for place in (encoding, embeddings):
        monkeypatch.setattr(place, "MEMORY", memory)
    return lent


def test_what_is_forgotten_is_encoded_anew(models: Models, passes: Counter[str]) -> None:
    first = encoded(models)
    encoding.MEMORY.forget()
    assert encoding.MEMORY.size == 0
    again, once = encoded(models), passes["Encoder"]
    encoded(models)
    assert (once, passes["Encoder"]) == (2, 2)
    assert torch.equal(first.items[0].mean, again.items[0].mean)


@pytest.fixture
def passes() -> Iterator[Counter[str]]:
    """How often the real encoders ran. A hook on all modules, as one on a single module forbids to keep anything."""
    counted: Counter[str] = Counter()

    def count(module: object, _: object, __: object) -> None:
        if isinstance(module, Encoder | CLIPTextModel):
            counted[type(module).__name__] += 1

    handle = register_module_forward_hook(count)
    yield counted
    handle.remove()


def picture(angle: int = 0) -> Image.Image:
    return Image.linear_gradient("L").resize((64, 64)).rotate(angle).convert("RGB")


def encoded(models: Models, *, angle: int = 0, flip: bool = True, **caption: int) -> DataSet:
    options = Options.from_flat(caption).caption
    data = encode(models, [Source(picture(angle), WORDS)], options, flip=flip, train_text_encoder=False)
    tensors(data)  # captions are encoded when they are asked for
    return data


def tensors(data: DataSet) -> tuple[torch.Tensor, ...]:
    assert data.encoder_hidden_states is not None
    return data.items[0].mean, data.items[0].std, data.encoder_hidden_states.of(torch.arange(len(data.input_ids)))


def same(one: DataSet, other: DataSet) -> bool:
    return all(map(torch.equal, tensors(one), tensors(other)))


@pytest.mark.parametrize("caption", [{}, {"clip_skip": 2, "max_token_length": 150}])
def test_the_second_time_nothing_is_encoded(models, passes, caption):
    never = encoded(replace(models, sha256=""), **caption)
    first = encoded(models, **caption)
    passes.clear()
    second = encoded(models, **caption)
    assert not passes
    assert same(never, first)
    assert same(first, second)
    second.items[0].mean.zero_()  # the caller's own
    assert same(first, encoded(models, **caption))


def test_captions_wait_until_they_are_asked_for(models, passes):
    source = Source(picture(), WORDS)
    data = encode(models, [source], Options().caption, flip=True, train_text_encoder=False)
    assert passes == {"Encoder": 1}
    for _ in range(2):
        data.encoder_hidden_states.of(torch.tensor([1, 0, 1]))
    assert passes == {"Encoder": 1, "CLIPTextModel": 2}


def test_what_changes_the_result_is_encoded_again(models, passes):
    encoded(models)
    other_vae = replace(models, vae=tiny.vae(seed=5))
    other_words = replace(models, text_encoder=tiny.text_encoder(seed=5))
    other_decoder = replace(models, vae=tiny.vae())
    other_decoder.vae.decoder.conv_in.weight.mul_(2)
    vae, words = {"Encoder": 1}, {"CLIPTextModel": len(WORDS)}
    for changed, given, wanted in (
        (other_vae, {}, vae),
        (other_words, {}, words),
        (other_decoder, {}, {}),
        (replace(models, vae=tiny.vae().double()), {}, vae),
        (replace(models, latent_scale=0.13), {}, vae),
        (replace(models, sha256="of another"), {}, vae | words),
        (models, {"angle": 90}, vae),
        (models, {"flip": False}, vae),
        (models, {"clip_skip": 2}, words),
        (models, {"max_token_length": 150}, words),
    ):
        passes.clear()
        data = encoded(changed, **given)
        assert passes == wanted
        assert same(data, encoded(replace(changed, sha256=""), **given))


def test_nothing_is_kept_without_a_hash_or_with_a_lora_on(models, passes):
    encoded(models)
    kept = encoding.MEMORY.size
    passes.clear()
    encoded(replace(models, sha256=""))
    assert passes == {"Encoder": 1, "CLIPTextModel": len(WORDS)}
    layer = next(part for part in models.text_encoder.modules() if isinstance(part, torch.nn.Linear))
    plain = encoded(models)
    handle = layer.register_forward_hook(lambda _, __, out: out + 1)  # as `output.applying` adds a LoRA
    try:
        passes.clear()
        assert not same(encoded(models), plain)
        assert passes == {"CLIPTextModel": len(WORDS)}
    finally:
        handle.remove()
    assert encoding.MEMORY.size == kept
    assert same(encoded(models), plain)


def test_what_is_kept_is_bounded_and_the_oldest_goes():
    memory, cpu, made = Memory(limit=3 * 400), torch.device("cpu"), []

    def recall(key: int, **how: bool) -> None:
        memory.recall(key, lambda: (made.append(key) or torch.full((100,), float(key)),), cpu, **how)

    for key in (1, 2, 3, 1, 4):  # 2 was not asked for longest
        recall(key)
    recall(5, if_room=True)  # there is none
    assert memory.size == 1200
    made.clear()
    for key in (1, 3, 4, 5, 2):
        recall(key)
    assert made == [5, 2]
    memory.recall(6, lambda: (torch.zeros(301),), cpu)  # larger than all
    assert memory.size == 1200


def test_no_model_is_kept_alive(monkeypatch):
    monkeypatch.setattr(encoding, "MEMORY", Memory())
    models = tiny.small_models(sha256="of a file")
    encoded(models)
    seen = [weakref.ref(part) for part in (models.vae, models.text_encoder)]
    seen += [weakref.ref(next(part().parameters())) for part in tuple(seen)]
    del models
    gc.collect()
    assert encoding.MEMORY.size > 0
    assert not any(part() for part in seen)
