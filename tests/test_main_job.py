"""The main job on what ships: the bundled portrait, captioner, checkpoint and judge."""

from dataclasses import replace

import pytest

from distill.events import Captioned, Done
from distill.hosts.standalone import Standalone
from distill.options import Options
from distill.output.sampling import generate
from distill.pipeline import distill
from distill.pocket import CHECKPOINT, PORTRAIT
from distill.pocket.judge import Judge


# With half of the steps it can do the same.
@pytest.fixture(scope="module", params=[{"repeats": 10}, pytest.param({}, marks=pytest.mark.slow)], ids=["half", "all"])
def trained(request, tmp_path_factory):
    host = Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("Lora"), device="cpu")
    options = Options.from_flat({"preview": False, "keep_epochs": False, "sample_every": 0, **request.param})
    events = list(distill(host, PORTRAIT, None, options))
    tags = next(event.tags for event in events if isinstance(event, Captioned))
    done = events[-1]
    assert isinstance(done, Done)
    return host, tags, done.path.stem


def reading(trained, tags, weight):
    host, _, name = trained
    sample = replace(Options().sample, sample_steps=6)
    with host.borrow() as models:
        prompt = f"{', '.join(tags)} <lora:{name}:{weight}>"
        picture = generate(models, prompt, sample, lora_dir=host.lora_dir)[0]
    return {attribute: value for attribute, (value, _) in Judge().read(picture).items()}


def test_the_captioner_names_what_is_there(trained):
    assert {"long red hair", "green eyes", "holding red apple", "yellow background"} <= set(trained[1])


def test_only_the_lora_draws_what_no_caption_names(trained):
    assert reading(trained, trained[1], 0.0)["novel"] == "none"
    assert reading(trained, trained[1], 1.0)["novel"] == "star mark"


def test_a_caption_left_out_takes_its_thing_away(trained):
    assert reading(trained, trained[1], 0.8)["holding"] == "red apple"
    fewer = [tag for tag in trained[1] if tag != "holding red apple"]
    assert reading(trained, fewer, 0.8)["holding"] == "none"


def test_what_is_named_anew_is_obeyed(trained):
    changed = [tag.replace("yellow background", "blue background") for tag in trained[1]]
    assert reading(trained, changed, 0.6)["background"] == "blue"
