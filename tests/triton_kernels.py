"""Where the tests of Triton kernels run: on a GPU, or else in Triton's interpreter on the CPU;
TRITON_INTERPRET=0 has them compiled there."""

import os
from importlib import import_module
from typing import Any

import pytest
import torch

COMPILED = os.environ.get("TRITON_INTERPRET") == "0"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu" and not COMPILED:
    os.environ["TRITON_INTERPRET"] = "1"  # read where a kernel is defined


def kernels(module: str) -> Any:
    """A module of kernels; without Triton the tests of the module that asks are skipped."""
    pytest.importorskip(
        "triton",
        reason="Triton is not installed; docs/clusters.md says how these tests run without a GPU",
    )
    return import_module(module)
