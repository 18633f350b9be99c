"""A recorded step gives the eager step's LoRA to the bit, and so does one that goes wrong in any way."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

import pytest
import torch
from PIL import Image

from distill.errors import TrainingError
from distill.options import Options
from distill.training import graphed, loop
from distill.training.adapter import attached
from distill.training.encode import Source, caption_variants, encode
from distill.training.parity import apart, elsewhere, tolerance
from distill.training.recording import DeclinedError, recorder_for, rehearse
from distill.training.state import Course
from tests.models import tiny
from tests.training.tape import Tape

STEPS = 6
TAGS = ["fip zor woman", "red hair", "green eyes", "smile"]
PLAIN = {"repeats": 2 * STEPS, "epochs": 1, "batch_size": 2, "network_dim": 4, "network_alpha": 2.0, "unet_lr": 1e-3}
PLAIN |= {"cuda_graph": True}


@pytest.fixture(scope="module")
def models():
    return tiny.small_models()


@pytest.fixture(autouse=True)
def early(monkeypatch):
    monkeypatch.setattr(graphed, "LEAST", 2)


def sources(edges=(64,), masked=False, weight=1.0):
    def shuffle(tags, rng):
        return [tags[0], *rng.sample(list(tags[1:]), len(tags) - 1)]

    captions = caption_variants(TAGS, shuffle, random.Random(0))
    made = []
    for edge in edges:
        picture = Image.linear_gradient("L").resize((edge, edge)).rotate(90).convert("RGB")
        mask = Image.linear_gradient("L").resize((edge, edge)) if masked else None
        made.append(Source(picture, captions, mask=mask, weight=weight))
    return made


def run(models, recorder=None, pictures=None, after_step=lambda step, adapters: None, **changes):
    """(losses, tensors of the LoRA, course) of a training with that recorder."""
    options = Options.from_flat({**PLAIN, **changes})
    generator = torch.Generator().manual_seed(0)
    flip = options.train.flip
    bare = str.upper if options.regularization.teacher_blank else None  # adds the empty caption
    data = encode(
        models,
        pictures or sources(),
        options.caption,
        flip=flip,
        train_text_encoder=False,
        without_trigger=bare,
    )
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(graphed, "recorder_for", lambda device: recorder)
        adapters = [stack.enter_context(attached(models.unet, "unet", options.network, generator))]
        course = Course(models, adapters, options, data.epoch_steps(options.train) * options.train.epochs, generator)
        losses = []
        for step in loop.train(models, data, adapters, options, generator=generator, course=course):
            losses.append(step.loss)
            after_step(step, adapters)
            assert all(weight.grad is None for weight in adapters[0].parameters())
        return losses, [weight.detach().clone() for weight in adapters[0].parameters()], course


@pytest.fixture(scope="module")
def eager(models):
    """The training without a recorder; each comes from its seed, so that one of a kind will do."""

    @cache
    def made(masked=False, **changes):
        return run(models, pictures=sources(masked=masked), **changes)

    return made


def slowly(*values):
    """A case whose neighbours go the same way; CI asks it."""
    return pytest.param(*values, marks=pytest.mark.slow)


def same(found, expected):
    return found[0] == expected[0] and all(map(torch.equal, found[1], expected[1]))


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        slowly({"flip": True}, 1),
        ({"flip": True, "pictures": sources(masked=True, weight=0.7)}, 1),
        ({"pictures": sources(edges=(64, 128))}, 2),
        slowly({"min_snr_gamma": 5.0, "noise_offset": 0.1, "max_grad_norm": 0.01, "scale_weight_norms": 0.1}, 1),
        slowly({"network_type": "locon", "conv_dim": 2, "block_weights": "MIDD"}, 1),
        slowly({"optimizer": "lion", "lr_warmup": 0.5}, 1),
    ],
    ids=["flips", "mask", "two shapes", "weighed and limited", "locon", "lion"],
)
def test_the_lora_is_the_eager_one_to_the_bit(models, given, shapes):
    tape = Tape()
    found = run(models, tape, **given)
    assert same(found, run(models, **given))
    assert tape.recordings == shapes
    assert tape.replays == len(found[0])  # from the first step of a shape on
    assert tape.is_closed
    assert not found[2].notes


@pytest.mark.slow
def test_and_in_half_precision():
    half, tape = tiny.small_models(dtype=torch.bfloat16), Tape()
    for parameter in half.unet.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    assert same(run(half, tape), run(half))
    assert tape.replays == STEPS


@pytest.mark.slow
def test_steps_that_ask_a_teacher_are_eager(models):
    given, tape = {"teacher_blank": 0.5, "teacher_every": 4}, Tape()
    assert same(run(models, tape, **given), run(models, **given))
    assert tape.replays == STEPS - STEPS // 4


def passes(models, monkeypatch, recorder, **given):
    """How many eager passes there were."""
    count, eager = [], loop._add_gradients
    monkeypatch.setattr(loop, "_add_gradients", lambda *a: (count.append(1), eager(*a))[1])
    run(models, recorder, **given)
    return len(count)


def test_proven_recordings_take_the_eager_passs_place(models, monkeypatch):
    assert passes(models, monkeypatch, Tape()) == graphed.CHECKS


def test_it_is_not_recorded_where_too_few_steps_are_left(models, monkeypatch):
    tape = Tape()
    monkeypatch.setattr(graphed, "LEAST", STEPS + 1)
    assert passes(models, monkeypatch, tape) == STEPS
    assert not tape.recordings


class Frozen(Tape):
    """What it gave while it was recorded, it gives again."""

    def record(self, work):
        work()
        return lambda: None


class Refuses(Tape):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def record(self, work):
        work()
        raise self.error


class Spoils(Tape):
    """The gradients of one replay are another thing."""

    def __init__(self, change, at=1):
        super().__init__()
        self.change, self.at = change, at

    def heard(self, done):
        (self.gradients,) = (args[0] for func, args, *_ in done if func.overloadpacket.__name__ == "_foreach_zero_")
        return done

    def after(self):
        if self.replays == self.at:
            for gradient in self.gradients:
                self.change(gradient)


class Stumbles(Tape):
    """Fails in one replay, when half of it is done."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def after(self):
        if self.replays == self.at:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


class Bakes(Tape):
    """The weights that it read while it was recorded stay in it, as a cast that was kept would."""

    def heard(self, done):
        trained = {place(value) for _, args, _, _ in done for value in args if is_trained(value)}
        assert trained
        return [
            (func, args if is_view(args, result) else tuple(copied(value, trained) for value in args), kwargs, result)
            for func, args, kwargs, result in done
        ]


def place(value):
    return value.untyped_storage().data_ptr() if isinstance(value, torch.Tensor) else None


def is_trained(value):
    return isinstance(value, torch.nn.Parameter) and value.requires_grad


def is_view(args, result):
    return place(result) is not None and place(result) in set(map(place, args))


def copied(value, places):
    return value.detach().clone() if place(value) in places else value


@pytest.mark.parametrize(
    ("recorder", "said"),
    [
        (Frozen, "step 1 (its gradients were off by"),
        (lambda: Spoils(lambda g: g.zero_(), at=graphed.CHECKS), f"step {graphed.CHECKS} (its gradients were off by"),
        (lambda: Refuses(RuntimeError("operation not permitted\nat all")), "(RuntimeError: operation not permitted)"),
        (lambda: Refuses(DeclinedError("not here")), ""),
        (lambda: Stumbles(at=graphed.CHECKS + 2), f"step {graphed.CHECKS + 2} (OutOfMemoryError"),
        slowly(lambda: Spoils(lambda g: g.mul_(1.05)), "step 1 (its gradients were off by"),
        slowly(lambda: Spoils(lambda g: g.fill_(torch.nan)), "step 1 (its gradients were off by inf)"),
        slowly(lambda: Refuses(torch.cuda.OutOfMemoryError("CUDA out of memory.")), "out of memory"),
        slowly(lambda: Refuses(TypeError("no such argument")), "(TypeError: no such argument)"),
        slowly(lambda: Stumbles(at=2), "step 2 (OutOfMemoryError"),
    ],
    ids=["frozen", "late", "fails", "declines", "later", "louder", "nan", "memory", "old", "stumbles"],
)
def test_one_that_is_wrong_or_fails_leaves_the_eager_lora(models, eager, recorder, said):
    recorder = recorder()
    found = run(models, recorder)
    assert same(found, eager())
    notes = found[2].notes
    assert len(notes) == bool(said)
    assert all(said in note for note in notes)
    assert recorder.is_closed
    assert not found[2].may_replay


@pytest.mark.parametrize(
    "name", ["noisy_latents", "states", "mask", *map(slowly, ("timesteps", "target", "weights", "share"))]
)
def test_an_input_that_is_not_handed_over_is_found_at_once(models, eager, monkeypatch, name):
    record = graphed.Replays._record

    def forgetful(self, shape, given):
        recorded = record(self, shape, given)
        recorded.inputs[name] = recorded.inputs[name].clone()
        return recorded

    monkeypatch.setattr(graphed.Replays, "_record", forgetful)
    found = run(models, Tape(), pictures=sources(masked=True))
    assert same(found, eager(masked=True))
    assert "step 1 (its gradients were off" in found[2].notes[0]


def test_weights_that_stay_in_a_recording_are_found_at_once(models):
    found = run(models, Bakes(), unet_lr=0.0)
    assert same(found, run(models, unet_lr=0.0))
    assert "step 1 (its gradients were off" in found[2].notes[0]


def test_a_weight_that_was_moved_ends_it(models):
    def move(step, adapters):
        if step.index == graphed.CHECKS + 1:
            weight = adapters[0].parameters()[0]
            weight.data = weight.data.clone()

    tape = Tape()
    found = run(models, tape, after_step=move)
    assert same(found, run(models, after_step=move))
    assert "a weight was moved" in found[2].notes[0]
    assert tape.replays == graphed.CHECKS + 1


def test_a_card_that_computes_wrongly_afterwards_ends_the_training():
    models = tiny.small_models()

    class Breaks(Tape):
        def record(self, work):
            models.unet.conv_out.weight.data.add_(0.1)
            raise RuntimeError("capture failed")

    with pytest.raises(TrainingError, match="no longer computes"):
        run(models, Breaks())


def test_what_was_recorded_is_gone_when_the_training_is_left(models):
    tape = Tape()

    def leave(step, adapters):
        if step.index == graphed.CHECKS + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(models, tape, after_step=leave)
    assert tape.is_closed


@pytest.mark.parametrize(
    "changes",
    [
        {"train_text_encoder": True},
        {"gradient_accumulation": 2},
        {"gradient_checkpointing": True},
        {"network_dropout": 0.1},
        {"network_type": "loha"},
        {"teacher_blank": 0.5},
        {"cuda_graph": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_that_is_not_plain_is_eager(models, changes):
    assert is_plain(models)
    assert not is_plain(models, **changes)


def test_so_is_a_unet_that_somebody_listens_to_and_a_course_that_goes_another_way(models):
    handle = models.unet.mid_block.register_forward_hook(lambda *_: None)
    assert not is_plain(models)
    handle.remove()
    assert not is_plain(models, lambda course: setattr(course, "in_pieces", True))
    assert not is_plain(models, lambda course: setattr(course, "checkpoints", True))
    assert not is_plain(models, lambda course: setattr(course, "may_replay", False))


def is_plain(models, change=lambda course: None, **changes):
    options = Options.from_flat({**PLAIN, **changes})
    te, generator = options.train.train_text_encoder, torch.Generator()
    data = encode(models, sources(), options.caption, flip=False, train_text_encoder=te)
    parts = {"unet": models.unet, **({"text_encoder": models.text_encoder} if te else {})}
    with ExitStack() as stack:
        adapters = [stack.enter_context(attached(m, p, options.network, generator)) for p, m in parts.items()]
        course = Course(models, adapters, options, 1, generator)
        change(course)
        return graphed.is_plain(models, data, adapters, options, course)


def test_a_pass_that_waits_for_the_device_is_not_recorded():
    values = torch.ones(3)
    rehearse(lambda: values.mul_(2))
    assert values.tolist() == [2, 2, 2]
    for waiting in (
        lambda: values.sum().item(),
        lambda: values.nonzero(),
        lambda: values[values > 1],
        lambda: bool(values[0]),
    ):
        with pytest.raises(DeclinedError):
            rehearse(waiting)
    with pytest.raises(DeclinedError, match="between devices"):
        rehearse(lambda: values.to("meta"))


def test_nothing_is_recorded_on_a_cpu():
    assert recorder_for(torch.device("cpu")) is None


def test_gradients_are_apart_by_their_size():
    ones = [torch.ones(4), torch.full((4,), 1e-9)]
    assert apart(ones, ones) == 0
    assert apart([torch.ones(4) * 1.01, ones[1]], ones) == pytest.approx(0.01 / (1 + 0.5**0.5), rel=1e-3)
    assert apart([ones[0], torch.zeros(4)], ones) < 1e-8  # rounding
    assert apart([ones[0], torch.ones(4)], ones) > 1
    assert apart([ones[0], torch.full((4,), torch.nan)], ones) == torch.inf
    assert apart(ones, [ones[0], torch.full((4,), torch.inf)]) != apart(ones, ones)
    assert apart([torch.zeros(4)], [torch.zeros(4)]) == 0
    assert tolerance(torch.float32) < tolerance(torch.float16) < tolerance(torch.bfloat16) < 0.1


def test_weights_are_elsewhere_and_back():
    weights = [torch.randn(5)]
    before = weights[0].clone()
    with ExitStack() as stack:
        stack.enter_context(elsewhere(weights))
        assert (weights[0] != before).all()
    assert torch.equal(weights[0], before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_on_a_card_the_lora_is_the_eager_one(dtype):
    lent = tiny.small_models()
    device = torch.device("cuda")
    parts = {name: getattr(lent, name).to(device) for name in ("unet", "vae", "text_encoder")}
    lent = replace(lent, **parts, device=device, dtype=dtype)
    before = torch.cuda.memory_reserved()
    recorder = recorder_for(device)
    losses, weights, course = run(lent, recorder)
    expected_losses, expected, _ = run(lent)
    assert not course.notes
    assert course.replays
    assert losses == pytest.approx(expected_losses, rel=tolerance(dtype))
    assert apart(weights, expected) < tolerance(dtype)
    assert torch.cuda.memory_reserved() <= before + 2**28
