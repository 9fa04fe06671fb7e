"""Resolve ``train.precision: auto``: bf16 if the device computes in it, else fp32.

This happens once, before anything is keyed by the config. A run's folder holds the resolved value,
which the run keeps on another machine.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import get_args

import torch

from nowcast.core.settings import Precision, RunSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import computes_tf32, pick_device
from nowcast.core.system.distributed import current, from_main
from nowcast.core.terminal.progress import say

# Limits in ONEDNN_MAX_CPU_ISA that have AVX-512 without its bf16 instructions; of lower ones oneDNN
# itself says that it has no bf16.
WITHOUT_BF16 = {"AVX512_CORE", "AVX512_CORE_VNNI"}
# 61.7 s a step of the default network instead of 5.3 on 2 cores of an AMD EPYC with AVX2 (2026-11).
FACTOR_EMULATED = 12

_warned: set[str] = set()


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has bfloat16 instructions that torch may use.

    On a CPU that means oneDNN's convolutions and matrix products, which ``ONEDNN_MAX_CPU_ISA`` may
    keep from using all that the processor has.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    x86 = torch.cpu._is_avx2_supported()
    return not x86 or (torch.cpu._is_avx512_bf16_supported() and not _is_held_back())


def _is_held_back() -> bool:
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return limit.upper() in WITHOUT_BF16


def settled(settings: RunSettings, runs: Iterable[Run] = ()) -> RunSettings:
    """The settings with ``train.precision: auto`` resolved; any other value stays.

    The first rank's device and folders decide for all ranks.

    Args:
        settings: of a run.
        runs: the first one that exists decides, so that a run goes on as it began.

    Raises:
        ConfigError: there is no such device, or a run's folder cannot be read.
    """
    if settings.train.precision != "auto":
        return settings

    def decide() -> bytes:
        return (_stored(runs) or _of_device(settings)).encode()

    train = settings.train.model_copy(update={"precision": from_main(decide).decode()})
    return settings.model_copy(update={"train": train})


def _stored(runs: Iterable[Run]) -> str | None:
    for run in runs:
        if run.config_file.is_file():
            precision = dict(run.config().get("train") or {}).get("precision")
            if precision in get_args(Precision):
                return str(precision)
    return None


def _of_device(settings: RunSettings) -> Precision:
    return "bf16" if computes_bf16(pick_device(settings.train.device, current())) else "fp32"


@dataclass(frozen=True)
class Settled:
    """Dotted overrides -> settings with a resolved precision; a class, so that it can be pickled.

    Args:
        resolve: dotted overrides -> the config with them.
        precision: replaces ``auto``.
    """

    resolve: Callable[[Mapping[str, object]], RunSettings]
    precision: Precision

    def __call__(self, changes: Mapping[str, object]) -> RunSettings:
        settings = self.resolve(changes)
        if settings.train.precision != "auto":
            return settings
        train = settings.train.model_copy(update={"precision": self.precision})
        return settings.model_copy(update={"train": train})


def warn_if_emulated(settings: RunSettings, device: torch.device) -> None:
    """Warn once that bf16 takes far longer than fp32 on a device without it, or that tf32 is fp32.

    Worker processes leave that to the process that started them.
    """
    if (
        parent_process() is None
        and settings.train.precision == "tf32"
        and not computes_tf32(device)
        and "tf32" not in _warned
    ):
        _warned.add("tf32")
        say(
            "train.precision: tf32 is of NVIDIA's GPUs since Ampere; here it is computed as fp32, "
            "and the run's config says tf32"
        )
    if (
        parent_process() is not None
        or settings.train.precision != "bf16"
        or computes_bf16(device)
        or device.type in _warned
    ):
        return
    _warned.add(device.type)
    what = "this GPU" if device.type == "cuda" else "this processor, as torch may use it,"
    measured = (
        ""
        if device.type == "cuda"
        else f": expect a step to take up to {FACTOR_EMULATED} times as long as with fp32 "
        "(61.7 s instead of 5.3 was measured on a processor with AVX2)"
    )
    say(
        f"train.precision: {what} has no instructions for bf16 and emulates them{measured}. Set "
        "train.precision=fp32, or auto, in another folder; a run that has begun keeps its own"
    )
