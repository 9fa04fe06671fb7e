"""How fast a run goes, and whether it is the data that it waits for."""

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
    """Counts clips and the time that passes; asks nothing of a GPU but its highest memory.

    Args:
        device: of this process.
        ranks: how many processes count as many clips as this one.
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
        """Around getting a batch."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training, e.g. a validation: its time does not count."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def count(self, clips: int) -> None:
        """Clips that this process has trained with."""
        self._clips += clips

    def read(self) -> Mapping[str, float]:
        """Numbers since the last reading, by name.

        ``clips_per_second`` is over all ranks; ``data_wait_share`` is the share of the time spent
        in `waiting`, 0 to 1; ``memory_mb`` (MiB) is the most that tensors have taken on a GPU, or
        else this process as a whole, since its start; it is not there where the system does not
        say it (Windows).
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
