"""Fakes of A1111, Forge and reForge around tiny real models, behaving as the running ones do."""

from tests.fakewebui.a1111 import FakeA1111
from tests.fakewebui.forge import FakeForge
from tests.fakewebui.reforge import FakeReForge

__all__ = ["FakeA1111", "FakeForge", "FakeReForge"]
