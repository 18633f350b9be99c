"""One set of tiny models for all tests of a module; none of them may change it."""

from __future__ import annotations

import pytest

from distill.host import Models
from tests.models import tiny


@pytest.fixture(scope="session")
def models() -> Models:
    return tiny.models(unet=tiny.outer_unet())
