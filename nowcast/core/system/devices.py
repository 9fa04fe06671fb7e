"""Where a process computes and how exactly: its GPU, that GPU's name, float32 on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import Ranks

CPU = torch.device("cpu")
AMPERE = (8, 0)  # compute capability of the first GPUs with TF32


def pick_device(name: str, ranks: Ranks) -> torch.device:
    """The device a config names; ``auto`` is this rank's GPU where there is one.

    Local ranks take the GPUs that they see in turn: a rank that sees one alone, as Slurm may have
    it, takes that one. Pinned memory and NCCL then use it, too. Nothing touches CUDA for a CPU.

    Raises:
        ConfigError: cuda is asked for and not there.
    """
    if name == "cpu":
        return CPU
    if not torch.cuda.is_available():
        if name == "cuda":
            raise ConfigError(
                "train.device: cuda was asked for, but torch finds no GPU; use auto or cpu"
            )
        return CPU
    device = torch.device("cuda", ranks.local % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def uses_cuda(name: str) -> bool:
    """Whether `pick_device` would pick a GPU; nothing is opened on it."""
    return name != "cpu" and torch.cuda.is_available()


def nearest_device(name: str, ranks: Ranks) -> torch.device:
    """As `pick_device`, but the CPU where there is no GPU: for what may be computed anywhere, such
    as the pictures of runs that were trained on a cluster."""
    return pick_device(name if uses_cuda(name) else "cpu", ranks)


def device_name(device: torch.device) -> str:
    """What a run's origin calls a device: ``cpu``, or a GPU's model. Two models round otherwise."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def computes_tf32(device: torch.device) -> bool:
    """Whether a device has TF32: NVIDIA's GPUs since Ampere."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


@contextmanager
def arithmetic(precision: str = "fp32") -> Iterator[None]:
    """Within the block, how CUDA computes float32 convolutions and products; CPUs do as ever.

    torch's own default rounds the inputs of convolutions to TF32, 10 bits of mantissa for 23. Here
    that is so for ``tf32`` alone, and ``fp32`` is IEEE's; so is what ``bf16`` leaves in float32.
    cuDNN uses algorithms that give the same bits each time.
    """
    cudnn: Any = torch.backends.cudnn
    kinds = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]
    flags = cudnn.deterministic, cudnn.benchmark
    try:
        for kind in kinds:
            kind.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        for kind, found in zip(kinds, before, strict=True):
            kind.fp32_precision = found
        cudnn.deterministic, cudnn.benchmark = flags
