"""Modules of Triton kernels, where they can be used: on a GPU, with Triton and a C compiler there.

Triton comes with the CUDA builds of torch. It compiles a kernel when it is first launched, for
which it needs a C compiler and Python's headers; a machine without them uses torch's operations.
"""

import warnings
from functools import cache
from importlib import import_module
from typing import Any

import torch


def kernels_for(device: torch.device, module: str) -> Any:
    """A module of kernels for tensors on a device; None: they cannot be used there.

    Args:
        device: of the tensors.
        module: full name; its function ``try_out`` launches a kernel.
    """
    return _tried(module) if device.type == "cuda" else None


@cache
def _tried(module: str) -> Any:
    try:
        kernels = import_module(module)
    except ImportError:
        return None
    try:
        kernels.try_out(torch.device("cuda"))
    except Exception as error:  # of Triton, of a C compiler, of the driver
        warnings.warn(
            f"Triton is installed but cannot compile ({type(error).__name__}: {error}); torch's "
            "operations serve, at more launches a step. Install gcc and Python's headers",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return kernels
