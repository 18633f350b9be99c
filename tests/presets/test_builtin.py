"""The recipes that users know, to the letter, and what goes from one to another."""

import pytest

from distill import recipe
from distill.errors import OptionError
from distill.options import Options, each_option
from distill.presets import BUILT_IN, find, with_preset

PRIVATE = {f.name for _, f, _ in each_option() if f.metadata["private"]}

FIGURES = {
    "One Image": {
        "network_type": "lora",
        "network_dim": 64,
        "network_alpha": 32.0,
        "repeats": 20,
        "epochs": 6,
        "batch_size": 1,
        "reg_pictures": "none",
        "views": "",
        "keep_tokens": 1,
        "shuffle": False,
        "flip": False,
        "color_aug": False,
        "clip_skip": 1,
        "noise_offset": 0.0,
        "min_snr_gamma": 0.0,
        "caption_dropout": 0.0,
        "unet_lr": 1e-4,
        "train_text_encoder": True,
        "text_encoder_lr": 5e-5,
        "optimizer": "adamw8bit",
        "lr_scheduler": "cosine",
        "lr_warmup": 0.1,
        "block_weights": "",
        "keep_epochs": True,
    },
    "Part 2": {
        "network_dim": 16,
        "network_alpha": 16.0,
        "optimizer": "adamw8bit",
        "batch_size": 1,
        "save_precision": "fp16",
        "unet_lr": 1e-3,
        "train_text_encoder": True,
        "text_encoder_lr": 5e-4,
        "lr_warmup": 0.05,
        "lr_scheduler": "constant",
        "repeats": 10,
        "repeats_of": "picture",
        "epochs": 10,
        "clip_skip": 2,
        "keep_tokens": 2,
        "shuffle": True,
        "noise_offset": 0.1,
        "color_aug": True,
        "flip": False,
        "reg_pictures": "generate",
        "reg_count": 60,
        "block_weights": "OUTD (article)",
    },
    "Distillery": {"trigger": "", "name": "", "flip": True, "reg_pictures": "generate", "reg_count": 200},
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_those_of_the_recipe(name):
    options = with_preset(find(name, BUILT_IN), {}).flat()
    assert {key: options[key] for key in FIGURES[name]} == FIGURES[name]


def test_part_2_knows_every_view_that_can_be_proposed():
    from distill.image.views import SPANS, names_of

    assert set(names_of(find("Part 2", BUILT_IN).values["views"])) == set(SPANS)


def test_from_one_to_another_nothing_is_left_behind():
    assert {frozenset(each.values) for each in BUILT_IN} == {frozenset(recipe.DEFAULTS)}


def test_the_person_s_own_is_in_no_preset():
    assert PRIVATE <= set(recipe.PERSONAL) <= {f.name for _, f, _ in each_option()}
    assert not set(recipe.PERSONAL) & set(recipe.DEFAULTS)


def test_all_differ_and_say_what_they_are():
    assert len({tuple(each.values.items()) for each in BUILT_IN}) == len(BUILT_IN) == 7
    assert len({each.name.casefold() for each in BUILT_IN}) == len(BUILT_IN)
    assert all(each.help.endswith(".") for each in BUILT_IN)


def test_flags_go_over_a_preset():
    options = with_preset(find(" part  2 ", BUILT_IN), {"epochs": 1, "name": "zor"})
    assert (options.train.epochs, options.train.repeats, options.output.name) == (1, 10, "zor")
    assert with_preset(None, {}) == Options()


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'One Image'"):
        find("one imge", BUILT_IN)
    with pytest.raises(OptionError, match="There are: Replicate"):
        find("", BUILT_IN)
