"""The GPU of these tests. NOWCAST_GPU_TESTS=cpu has a CPU stand in, to try the tests themselves."""

import os

import pytest
import torch

from nowcast.core.system.devices import CPU, pick_device
from nowcast.core.system.distributed import Ranks

STAND_IN = os.environ.get("NOWCAST_GPU_TESTS") == "cpu"


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """A CUDA device."""
    if STAND_IN:
        return CPU
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return pick_device("cuda", Ranks())
