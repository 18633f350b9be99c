"""Builds a tiny SmolVLM with the packages of whoever runs it, as a module with a folder as its argument."""

import sys
from pathlib import Path

from tests.models.tiny_vlms import build

if __name__ == "__main__":
    build("idefics3", Path(sys.argv[1]))
