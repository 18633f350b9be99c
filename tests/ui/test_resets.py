"""What is not as the defaults, as the server tells the script; and tooltips that belong to options."""

import pytest

from distill.options import Options, each_option
from distill.ui import options_form
from distill.ui.looks import LOOKS
from distill.ui.resets import different

DEFAULTS = Options().flat()


def of(**changed):
    return different(DEFAULTS, [changed.get(name, DEFAULTS[name]) for name in options_form.NAMES])


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, []),
        ({"network_dim": 16.0, "preferred_weight": 0.6000000000000001, "trigger": None}, []),
        (
            {"network_dim": 8, "flip": True, "trigger": "zor", "crop": "aspect"},
            ["crop", "trigger", "flip", "network_dim"],
        ),
        ({"network_dim": None}, ["network_dim"]),
        ({"text_encoder_lr": 5.1e-5}, ["text_encoder_lr"]),
    ],
)
def test_what_differs(changed, names):
    assert of(**changed) == names


def test_the_settings_page_s_value_is_the_one_to_go_back_to():
    marked = options_form.marked({"preferred_weight": 0.8, "network_dim": 10**6}.get)
    assert marked["preferred_weight"]["default"] == 0.8
    assert marked["network_dim"] == {"default": 16, "group": "distill_group_network", "looks": LOOKS["network_dim"]}


def test_tooltips_are_of_options_and_say_more_than_the_help():
    helps = {f.name: f.metadata["help"] for _, f, _ in each_option()}
    assert set(LOOKS) <= set(helps)
    assert all(text.endswith(".") and text != helps[name] and len(text) <= 110 for name, text in LOOKS.items())
