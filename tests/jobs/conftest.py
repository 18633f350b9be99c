"""Real jobs on a tiny model."""

import pytest
from PIL import Image

from distill.jobs import Jobs, Order
from distill.options import Options
from tests.models.host import TinyHost

QUICK = {"repeats": 2, "epochs": 3, "batch_size": 1, "sample_steps": 2, "trigger": "fip zor"}
QUICK |= {"network_dim": 4, "network_alpha": 4.0}


def order(**changes):
    picture = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
    options = Options.from_flat({**QUICK, "preview": False, "sample_every": 0, **changes})
    return Order(picture=picture, tags=("woman", "red hair"), options=options)


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture
def jobs(host):
    made = Jobs(host)
    yield made
    made.close()
