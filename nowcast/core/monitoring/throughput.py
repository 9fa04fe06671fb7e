"""Throughput of a run: clips per second, time spent waiting for data, memory."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]


class Throughput:
    """Counts clips and time; of a GPU only its peak memory is read.

    Args:
        device: of this process.
        ranks: number of processes, each of which trains with as many clips.
    """

    def __init__(self, device: torch.device, ranks: int = 1) -> None:
        self._device = device
        self._ranks = ranks
        self._restart()

    def _restart(self) -> None:
        self._clips = 0
        self._waited = 0.0
        self._began = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block, which gets a batch, as time spent waiting."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of the block, which is not training, e.g. a validation."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def count(self, clips: int) -> None:
        """Add clips that this process has trained with."""
        self._clips += clips

    def read(self) -> Mapping[str, float]:
        """Numbers since the last reading, by name.

        ``clips_per_second``: of all ranks together.
        ``data_wait_share``: share of the time spent in `waiting`, 0 to 1.
        ``memory_mb``: peak since the start, MiB, of tensors on a GPU, else of this process;
        left out on Windows, which does not tell.
        """
        seconds = time.perf_counter() - self._began
        numbers = {
            "clips_per_second": self._ranks * self._clips / seconds,
            "data_wait_share": self._waited / seconds,
        }
        peak = self._peak_bytes()
        if peak is not None:
            numbers["memory_mb"] = peak / 2**20
        self._restart()
        return numbers

    def _peak_bytes(self) -> int | None:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if resource is None:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak  # bytes there, KiB elsewhere
