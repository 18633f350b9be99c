"""Options refuse what is out of range, by name, and are the only place where a setting stands."""

import pytest

from distill.errors import OptionError
from distill.options import Options, each_option


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network_dim": 0}, r"Rank \(network_dim\) is 0"),
        ({"network_dim": 2.5}, "not a whole number"),
        ({"network_dim": True}, "not a whole number"),
        ({"unet_lr": float("nan")}, "not a number"),
        ({"unet_lr": "fast"}, "not a number"),
        ({"lr_scheduler": "wild"}, "Choose one of: constant, linear, cosine"),
        ({"resolution": 500}, "multiple of 64"),
        ({"width": 100}, "multiple of 8"),
        ({"flip": 1}, "not true or false"),
        ({"netwrok_dim": 8}, "Unknown option: netwrok_dim"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(OptionError, match=message):
        Options.from_flat(values)


def test_flat_and_back():
    options = Options.from_flat({"network_dim": 8, "flip": True, "name": "zor"})
    assert options.network.network_dim == 8
    assert Options.from_flat(options.flat()) == options


def test_names_and_labels_are_unique_and_every_option_says_what_it_does():
    fields = [f for _, f, _ in each_option()]
    assert len({f.name for f in fields}) == len({f.metadata["label"] for f in fields}) == len(fields)
    assert all(f.metadata["help"].endswith(".") for f in fields)


def test_the_default_is_30_steps_of_4_at_rank_16():
    assert (Options().train.steps, Options().train.batch_size) == (60, 2)
    assert Options().network.network_dim == 16
