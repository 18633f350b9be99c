"""The whole way on tiny real models: what comes out, and what is left when it ends early."""

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import CaptionError, OptionError, OutputError, PictureError, TrainingError
from distill.events import Captioned, Done, Prepared, Sampled, Saved
from distill.options import Options
from distill.output.applying import applied
from distill.output.lora_file import read
from distill.pipeline import distill
from distill.training.loop import Step
from tests.models import tiny
from tests.models.host import TinyHost

TAGS = ["woman", "red hair", "green eyes", "holding red apple"]
QUICK = {"repeats": 2, "epochs": 3, "batch_size": 1, "sample_steps": 2, "trigger": "fip zor"}
QUICK |= {"network_dim": 4, "network_alpha": 4.0}


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def picture():
    return Image.radial_gradient("L").resize((96, 128)).convert("RGB")


def options(**changes):
    return Options.from_flat({**QUICK, **changes})


def kinds(events):
    return [type(event).__name__ for event in events]


def tensors(path):
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def metadata(path):
    with safe_open(str(path), "pt") as file:
        return file.metadata()


def files(host):
    return sorted(path.name for path in host.lora_dir.glob("*"))


def test_one_picture_becomes_a_lora_with_its_files(host, picture):
    events = list(distill(host, picture, TAGS, options()))
    prepared, captioned, done = events[0], events[1], events[-1]
    # A reading costs six passes, so six steps get one at their end.
    last = ("Measured", "Saved", "Sampled", "Done")
    assert kinds(events[2:]) == ["Step", "Step", "Saved", "Sampled"] * 2 + ["Step", "Step", *last]
    assert isinstance(prepared, Prepared)
    assert prepared.image.size == (64, 64)
    assert isinstance(captioned, Captioned)
    assert captioned.tags == ("fip zor woman", "red hair", "green eyes", "holding red apple")
    assert done == Done(
        host.lora_dir / "fip_zor.safetensors",
        "fip zor woman, red hair, green eyes, holding red apple, <lora:fip_zor:0.6>",
        6,
    )
    assert files(host) == [
        "fip_zor-000001.preview.png",
        "fip_zor-000001.safetensors",
        "fip_zor-000002.preview.png",
        "fip_zor-000002.safetensors",
        "fip_zor.json",
        "fip_zor.png",
        "fip_zor.preview.png",
        "fip_zor.safetensors",
    ]
    assert metadata(done.path)["ss_output_name"] == "fip_zor"
    assert metadata(host.lora_dir / "fip_zor-000001.safetensors")["ss_epoch"] == "1"
    assert host.lent == 0


def test_the_lora_changes_the_prediction_and_only_while_applied(host, picture):
    path = list(distill(host, picture, TAGS, options(preview=False)))[-1].path
    inputs = torch.ones(1, 4, 8, 8), torch.tensor([500]), torch.ones(1, 77, tiny.WIDTH)
    unet = host.models.unet
    with torch.no_grad():
        plain = unet(*inputs).sample
        with applied(host.models, [(read(path), 1.0)]):
            assert not torch.equal(unet(*inputs).sample, plain)
        assert torch.equal(unet(*inputs).sample, plain)


@pytest.mark.slow
def test_same_seed_same_tensors_under_another_name(host, picture):
    first, second, other = (
        list(distill(host, picture, TAGS, options(preview=False, seed=seed)))[-1].path for seed in (3, 3, 4)
    )
    assert (first.stem, second.stem) == ("fip_zor", "fip_zor-2")
    a, b, c = tensors(first), tensors(second), tensors(other)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_the_trigger_is_two_rare_words_that_follow_picture_and_seed(host, picture):
    def trigger(image, seed):
        events = distill(host, image, TAGS, options(trigger="", seed=seed))
        return next(event.trigger for event in events if isinstance(event, Captioned))

    first = trigger(picture, 0)
    vocabulary = host.models.tokenizer.get_vocab()
    assert len(first.split()) == 2
    assert all(f"{word}</w>" in vocabulary for word in first.split())
    assert trigger(picture, 0) == first
    assert trigger(picture, 1) != first
    assert trigger(picture.rotate(180), 0) != first


def test_a_trigger_of_ones_own_makes_a_safe_name(host, picture):
    done = list(distill(host, picture, TAGS, options(preview=False, trigger="my ../dog")))[-1]
    assert done.path.parent == host.lora_dir
    with pytest.raises(CaptionError, match="comma"):
        list(distill(host, picture, TAGS, options(trigger="a, b")))


@pytest.mark.slow
def test_text_encoder_layers_are_saved_too(host, picture):
    host.models = tiny.models()
    done = list(distill(host, picture, TAGS, options(preview=False, train_text_encoder=True, save_precision="fp32")))[
        -1
    ]
    keys = tensors(done.path)
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in keys
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha" in keys


def test_stopping_keeps_what_is_trained(host, picture):
    steps = []
    events = []
    for event in distill(host, picture, TAGS, options(), should_stop=lambda: len(steps) >= 3):
        events.append(event)
        if isinstance(event, Step):
            steps.append(event)
    done = events[-1]
    assert done.stopped == "Stopped at step 3 of 6."
    assert done.step == 3
    assert [event.step for event in events if isinstance(event, Sampled)] == [2]  # of the first epoch only
    assert metadata(done.path)["ss_steps"] == "3"


def test_pictures_of_epochs_have_one_prompt_and_one_seed(host, picture):
    events = distill(host, picture, TAGS, options(unet_lr=0.0, keep_epochs=False, repeats=1))  # so that nothing moves
    sampled = (event.image.tobytes() for event in events if isinstance(event, Sampled))
    first, second = next(sampled), next(sampled)
    assert first == second
    with pytest.raises(OutputError, match="changes nothing"):
        next(sampled)


def test_closing_discards_and_gives_back(host, picture):
    events = distill(host, picture, TAGS, options(keep_epochs=False))
    while not isinstance(next(events), Step):
        pass
    assert host.lent == 1
    events.close()
    assert host.lent == 0
    assert files(host) == []


def poison(events, host, after):
    """Consume the events; the first of type `after` breaks the LoRA, as a rate that is too high does."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, after):
            for name, parameter in host.models.unet.named_parameters():
                if "lora_B" in name:
                    parameter.data.fill_(float("nan"))
    return seen


def test_a_loss_that_breaks_keeps_the_last_good_epoch(host, picture):
    done = poison(distill(host, picture, TAGS, options()), host, Saved)[-1]
    assert done.stopped.startswith("The loss is not a finite number at step 3. Epoch 1 is saved.")
    assert done.step == 2
    last, first = tensors(done.path), tensors(host.lora_dir / "fip_zor-000001.safetensors")
    assert all(torch.equal(last[key], first[key]) for key in first)


def test_a_loss_that_breaks_before_the_first_epoch_says_so(host, picture):
    with pytest.raises(TrainingError, match="Nothing was saved") as caught:
        poison(distill(host, picture, TAGS, options()), host, Step)
    assert "step 2" in caught.value.message
    assert files(host) == []
    assert host.lent == 0


def test_a_lora_that_would_change_nothing_is_not_saved(host, picture):
    with pytest.raises(OutputError, match="changes nothing"):
        list(distill(host, picture, TAGS, options(unet_lr=0.0, keep_epochs=False)))
    assert files(host) == []


def test_errors_come_before_the_work(host, picture, tmp_path):
    with pytest.raises(PictureError):
        list(distill(host, b"not a picture", TAGS, options()))
    (tmp_path / "file").write_text("")
    host.lora_dir = tmp_path / "file"
    with pytest.raises(OutputError, match="folder"):
        next(distill(host, picture, TAGS, options()))
    assert host.lent == 0


EVERYTHING = {
    "optimizer": "lion",
    "optimizer_args": "betas=(0.9,0.95)",
    "lr_scheduler": "cosine_with_restarts",
    "noise_offset": 0.1,
    "multires_noise_iterations": 2,
    "min_snr_gamma": 5.0,
    "gradient_accumulation": 2,
    "ema_decay": 0.9,
    "caption_dropout": 0.2,
    "tag_dropout": 0.2,
    "max_token_length": 150,
    "block_weights": "OUTALL",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "ending"),
    [("lora", "lora_up.weight"), ("locon", "lora_up.weight"), ("loha", "hada_w1_a"), ("lokr", "lokr_w1")],
)
def test_every_network_and_knob_reaches_its_file(host, picture, form, ending):
    host.models = tiny.models()
    chosen = options(network_type=form, epochs=1, preview=False, sample_every=0, conv_dim=2, **EVERYTHING)
    done = list(distill(host, picture, TAGS, chosen))[-1]
    keys = tensors(done.path)
    assert any(key.endswith(ending) for key in keys)
    assert all("up_blocks" in key for key in keys)  # OUTALL
    assert any("resnets" in key for key in keys) == (form != "lora")
    about = metadata(done.path)
    assert (about["ss_optimizer"][:4], about["ss_noise_offset"], about["ss_max_token_length"]) == ("lion", "0.1", "150")
    with applied(host.models, [(read(done.path), 1.0)]):
        pass


def test_a_wrong_knob_is_told_before_anything_is_lent(host, picture):
    for wrong in ({"block_weights": "1,2"}, {"optimizer_args": "betas"}):
        with pytest.raises(OptionError):
            next(distill(host, picture, TAGS, options(**wrong)))
    assert host.lent == 0


def test_stopping_before_anything_was_learned_says_so(host, picture):
    with pytest.raises(TrainingError, match=r"Stopped at step 1 of 40\. Nothing was learned by then"):
        list(distill(host, picture, TAGS, options(repeats=40, epochs=1), should_stop=lambda: True))
    assert files(host) == []
