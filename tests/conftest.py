"""Tests run tiny real models; one thread makes those many times faster."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

torch.set_num_threads(1)
