"""A training that was cut off goes on as if it never had been: same losses, same LoRA, to the bit."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from distill.events import Resumed
from distill.options import Options
from distill.pipeline import distill
from distill.plan import Plan, Shot
from distill.training.loop import Step
from tests.models.host import TinyHost

TAGS = ["woman", "red hair", "green eyes", "holding red apple"]
QUICK = {"repeats": 3, "epochs": 3, "network_dim": 4, "network_alpha": 4.0, "sample_steps": 2, "trigger": "fip zor"}
QUIET = {"preview": False, "sample_every": 0}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def picture():
    return Image.radial_gradient("L").resize((96, 128)).convert("RGB")


def options(**changes):
    return Options.from_flat({**QUICK, **QUIET, **changes})


def tensors(path):
    with safe_open(str(path), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def same(one, other):
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def losses(events):
    return {event.index: event.loss for event in events if isinstance(event, Step)}


def killed(host, events, after):
    """Consume them until step `after`; what then lies on the disk is what a kill leaves behind."""
    left = host.work_dir.parent / "left"
    for event in events:
        if isinstance(event, Step) and event.index == after:
            for folder in (host.lora_dir, host.work_dir):
                shutil.copytree(folder, left / folder.name, dirs_exist_ok=True)
            break
    events.close()
    for folder in (host.lora_dir, host.work_dir):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(left / folder.name, folder)


def cut_and_whole(tmp_path, picture, *, tags=TAGS, after=5, plan=None, **changes):
    """Hosts and events of a training that was cut off and went on, and of one that never was."""
    plan = plan or Plan()
    whole, cut = TinyHost(tmp_path / "whole" / "Lora"), TinyHost(tmp_path / "cut" / "Lora")
    unbroken = list(distill(whole, picture, tags, options(**changes), plan=plan))
    killed(cut, distill(cut, picture, tags, options(**changes), plan=plan), after)
    rest = list(distill(cut, picture, tags, options(**changes), plan=plan, resume=True))
    return unbroken, rest


KINDS = {
    "plain": {},
    "everything": {
        "optimizer": "lion",
        "gradient_accumulation": 2,
        "ema_decay": 0.9,
        "noise_offset": 0.1,
        "noise_offset_random": True,
        "caption_dropout": 0.2,
        "tag_dropout": 0.2,
        "network_dropout": 0.2,
        "lr_scheduler": "cosine_with_restarts",
        "lr_cycles": 2,
        "flip": True,
    },
    "text encoder": {"train_text_encoder": True, "text_encoder_lr": 1e-3, "scale_weight_norms": 0.01},
    "adafactor": {"optimizer": "adafactor", "network_type": "locon", "conv_dim": 2},
    "loha": {"network_type": "loha", "conv_dim": 2, "ema_decay": 0.5},
    "lokr": {"network_type": "lokr", "conv_dim": 2, "batch_size": 2},
    "teacher": {"teacher_class": 1.0, "teacher_blank": 0.5},
    "grown rate": {"optimizer": "adafactor", "optimizer_args": "relative_step=True scale_parameter=True lr=None"},
}


@pytest.mark.parametrize("kind", ["plain", *(pytest.param(k, marks=pytest.mark.slow) for k in list(KINDS)[1:-1])])
def test_it_goes_on_to_the_bit(tmp_path, picture, kind):
    unbroken, rest = cut_and_whole(tmp_path, picture, **KINDS[kind])
    (resumed,) = [event for event in rest if isinstance(event, Resumed)]
    before, after = losses(unbroken), losses(rest)
    assert resumed.step == 3
    assert list(after) == [4, 5, 6, 7, 8, 9]
    assert after == {step: loss for step, loss in before.items() if step > 3}
    assert list(resumed.losses) == [before[step] for step in (1, 2, 3)]
    assert same(unbroken[-1].path, rest[-1].path)
    assert rest[-1].path.name == "fip_zor.safetensors"


def test_pictures_in_turn_go_on_where_they_were(tmp_path, picture):
    more = Plan(more=(Shot(source=picture.rotate(180), tags=("woman", "smile")), Shot(source=picture.rotate(90))))
    unbroken, rest = cut_and_whole(tmp_path, picture, plan=more, tags=TAGS, repeats=4, after=6, captioner="none")
    assert losses(rest) == {step: loss for step, loss in losses(unbroken).items() if step > 4}
    assert same(unbroken[-1].path, rest[-1].path)
