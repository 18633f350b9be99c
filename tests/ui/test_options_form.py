"""Options as widgets and back, whatever gradio makes of the numbers."""

import gradio as gr
import pytest

from distill.errors import OptionError
from distill.options import Options, each_option
from distill.ui import options_form

DEFAULTS = Options().flat()
FIELDS = {f.name: (f, kind) for _, f, kind in each_option()}


def read(**changed):
    values = DEFAULTS | changed
    return options_form.read([values[name] for name in options_form.NAMES]).flat()


@pytest.fixture(scope="module")
def widgets():
    with gr.Blocks():
        return options_form.accordions(lambda name: None, leave_out=("name",))


def test_every_option_but_the_left_out_has_a_widget(widgets):
    assert set(widgets) == set(DEFAULTS) - {"name"}


def test_widgets_begin_with_the_defaults_and_are_read_back_as_them(widgets):
    shown = {name: widget.value for name, widget in widgets.items()} | {"name": ""}
    assert options_form.read([shown[name] for name in options_form.NAMES]) == Options()


def test_widgets_say_what_the_options_say(widgets):
    for name, widget in widgets.items():
        assert widget.label == FIELDS[name][0].metadata["label"]
        assert widget.info == FIELDS[name][0].metadata["help"]
        assert widget.elem_id == f"distill_{name}"


@pytest.mark.parametrize("name", [name for name, (_, kind) in FIELDS.items() if kind is int])
def test_whole_numbers_survive_as_floats(name):
    assert read(**{name: float(DEFAULTS[name])}) == DEFAULTS


def test_a_slider_s_float_noise_is_taken_off():
    assert read(preferred_weight=0.6000000000000001)["preferred_weight"] == 0.6


def test_small_rates_keep_their_digits():
    assert read(unet_lr=0.00012345)["unet_lr"] == 0.00012345


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_number_is_named(empty):
    with pytest.raises(OptionError, match="Rank is empty"):
        read(network_dim=empty)


def test_an_empty_text_is_the_empty_text():
    assert read(trigger=None)["trigger"] == ""


def test_a_broken_number_is_named():
    with pytest.raises(OptionError, match="Epochs"):
        read(epochs=2.5)


def test_settings_page_sets_the_beginning_and_an_impossible_one_is_left_out():
    settings = {"preferred_weight": 0.8, "network_dim": 100_000, "captioner": 7}
    with gr.Blocks():
        widgets = options_form.accordions(settings.get, leave_out=("name",))
    assert widgets["preferred_weight"].value == 0.8
    assert widgets["network_dim"].value == DEFAULTS["network_dim"]
    assert widgets["captioner"].value == "7"


def test_updates_touch_only_what_they_name():
    made = options_form.updates({"epochs": 3}, ["repeats", "epochs"])
    assert [update.get("value") for update in made] == [None, 3]
    assert "value" not in made[0]
