"""The whole way with class pictures on a tiny model: folder, generated, described, stopped, discarded, broken."""

import json

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.errors import DistillError, OptionError, TrainingError
from distill.events import Done, Noted, Prepares
from distill.options import Options
from distill.pipeline import distill
from distill.regularization import described
from distill.training.loop import Step
from tests.models.host import TinyHost
from tests.test_resume import cut_and_whole, same

TAGS = ["woman", "red hair"]
QUICK = {
    "repeats": 2,
    "epochs": 1,
    "batch_size": 1,
    "network_dim": 4,
    "sample_steps": 2,
    "preview": False,
    "trigger": "fip zor",
}
PROMPT = {"reg_pictures": "generate", "reg_prompt": "woman, {smile|serious}"}


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "reg" / "1_woman"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (70, 90), (90 * i, 10, 10)).save(folder / f"{i}.png")
    return {"reg_pictures": "folder", "reg_folder": str(folder.parent), "reg_count": 3}


def run(host, should_stop=lambda: False, **changes):
    picture = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
    return distill(host, picture, TAGS, Options.from_flat({**QUICK, **changes}), should_stop=should_stop)


def head(events):
    with safe_open(str(events[-1].path), "pt") as file:
        return file.metadata()


def losses(events):
    return [event.loss for event in events if isinstance(event, Step)]


def test_own_pictures_double_the_steps_and_are_in_the_metadata(host, own):
    events = list(run(host, **own))
    assert [event.total for event in events if isinstance(event, Step)] == [4] * 4
    about = head(events)
    assert json.loads(about["ss_reg_dataset_dirs"]) == {"1_woman": {"n_repeats": 1, "img_count": 2}}
    names = ("ss_num_reg_images", "ss_num_train_images", "ss_max_train_steps", "ss_steps", "ss_prior_loss_weight")
    assert [about[name] for name in names] == ["2", "2", "4", "4", "1.0"]
    assert [event.note for event in events if isinstance(event, Noted)] == [
        "Of 3 class pictures 2 are used: as many as yours come in an epoch."
    ]
    assert str(own["reg_folder"]) not in json.dumps(about)


def test_their_weight_counts(host, own):
    plain, light = (losses(run(host, reg_weight=weight, **own)) for weight in (1.0, 0.0))
    assert sum(loss == 0 for loss in light) == 2
    assert 0 not in plain


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_missing_folder_is_told_before_the_model_is_borrowed(host, folder, monkeypatch):
    monkeypatch.setattr(host, "borrow", None)
    with pytest.raises(OptionError):
        next(run(host, reg_pictures="folder", reg_folder=folder))


def test_a_folder_without_pictures_is_told_before_a_step(host, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="Nothing was begun"):
        list(run(host, reg_pictures="folder", reg_folder=str(tmp_path / "empty")))
    assert host.lent == 0


def test_generated_ones_train_the_same_lora_when_they_are_kept_already(host):
    before = torch.random.get_rng_state()
    first, again = list(run(host, **PROMPT)), list(run(host, **PROMPT))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [(e.done, e.total) for e in first if isinstance(e, Prepares)] == [(0, 2), (1, 2), (2, 2)]
    assert not any(isinstance(e, Prepares) for e in again)
    assert losses(first) == losses(again)
    assert json.loads(head(first)["ss_reg_dataset_dirs"]) == {"generated": {"n_repeats": 1, "img_count": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("way", [PROMPT, "own"])
def test_the_captioner_describes_each_once(host, own, way, monkeypatch):
    looked = []
    say = described.describe_each

    def counted(images, *args):
        looked.append(len(images))
        return say(images, *args)

    monkeypatch.setattr(described, "describe_each", counted)
    way = own if way == "own" else way
    first = list(run(host, captioner="pocket", reg_captioned=True, **way))
    again = list(run(host, captioner="pocket", reg_captioned=True, **way))
    told = [event.text for event in first if isinstance(event, Prepares) and event.text.startswith("Describes")]
    assert told == ["Describes class pictures: 1 of 2.", "Describes class pictures: 2 of 2."]
    assert looked == [2, 0]
    assert losses(first) == losses(again)
    kept = [path.read_text("utf-8") for path in (host.work_dir / "class-pictures" / "captions").iterdir()]
    assert all(caption.startswith("woman") and "fip" not in caption for caption in kept)


def test_stopped_while_they_are_made_gives_the_model_back_and_keeps_them(host):
    asked = iter([False] * 4 + [True] * 9)
    with pytest.raises(TrainingError, match="Stopped: 1 of 2 class pictures are made and kept"):
        list(run(host, should_stop=lambda: next(asked), **PROMPT))
    assert host.lent == 0
    assert not list(host.lora_dir.glob("*.safetensors"))
    told = [(e.done, e.total) for e in run(host, **PROMPT) if isinstance(e, Prepares)]
    assert told == [(1, 2), (2, 2)]


def test_closed_while_they_are_made_gives_the_model_back(host):
    events = run(host, **PROMPT)
    while not isinstance(next(events), Prepares):
        pass
    events.close()
    assert host.lent == 0
    assert not list(host.lora_dir.glob("*.safetensors"))


def test_broken_while_they_are_made_gives_the_model_back(host, monkeypatch):
    def broken(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("distill.regularization.generated.sampled_latents", broken)
    with pytest.raises((DistillError, MemoryError)):
        list(run(host, **PROMPT))
    assert host.lent == 0
    monkeypatch.undo()
    assert isinstance(list(run(host, **PROMPT))[-1], Done)


@pytest.mark.slow
def test_all_of_it_together(host, own):
    every = {
        "teacher_class": 1.0,
        "teacher_blank": 0.5,
        "reg_weight": 0.5,
        "shuffle": True,
        "train_text_encoder": True,
        "caption_dropout": 0.3,
        "tag_dropout": 0.3,
        "network_dropout": 0.1,
        "flip": True,
        "color_aug": True,
        "gradient_accumulation": 2,
        "batch_size": 2,
        "repeats_of": "picture",
        "gradient_checkpointing": True,
        "network_type": "locon",
    }
    first, again = list(run(host, **own, **every)), list(run(host, **own, **every))
    assert losses(first) == losses(again)


@pytest.mark.slow
def test_cut_off_it_goes_on_with_the_same_draws(tmp_path):
    picture = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
    changes = {**PROMPT, "teacher_class": 1.0, "reg_weight": 0.5, "shuffle": True}
    unbroken, rest = cut_and_whole(tmp_path, picture, after=8, **changes)  # 6 steps an epoch
    steps = {event.index: event.loss for event in unbroken if isinstance(event, Step)}
    again = {event.index: event.loss for event in rest if isinstance(event, Step)}
    assert list(again) == list(range(7, 19))
    assert all(again[index] == steps[index] for index in again)
    assert same(unbroken[-1].path, rest[-1].path)
