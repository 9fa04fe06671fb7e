"""Two ranks of one thread beside one process of two: what DDP costs where it gains no core."""

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import joined
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.apart import Apart, Function, apart
from scripts.bench.paired import Pairs, alternate
from scripts.bench.step import training_step

RANKS = 2
FRAMES = 10  # in and out; Wang et al. 2024
PATIENCE = timedelta(minutes=2)  # far more than a step, so that a lost rank is soon told


@dataclass(frozen=True)
class Speed:
    """What was timed: training steps on `batch` clips in all, in one process and shared by ranks.

    Args:
        pairs: one process with as many threads as there are ranks, and beside it the ranks.
    """

    batch: int
    precision: str
    pairs: Pairs

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ratio, low, high = self.ratio()
        return asdict(self) | {"ratio": ratio, "ratio_low": low, "ratio_high": high}

    def ratio(self) -> tuple[float, float, float]:
        """Clips per second of the ranks over those of the one process, and its 95 % interval."""
        longer, low, high = self.pairs.ratio()
        return 1 / longer, 1 / high, 1 / low


def measure(
    batches: Sequence[int],
    precisions: Sequence[str],
    pairs: int,
    size: int = 120,
    frames: int = FRAMES,
    stages: Sequence[Stage] = PAPER_STAGES,
) -> list[Speed]:
    """Time steps of the paper's ConvGRU with MEmeL, in one process and in two ranks in turns.

    Args:
        batches: clips of all ranks together; a row each.
        precisions: ``fp32``, or ``bf16`` for autocast; a row each.
        pairs: steps of either.
        size: height and width, a multiple of 30.
        frames: in, and as many out.
        stages: the paper's, or smaller ones for a test.

    Raises:
        ConfigError: a batch cannot be shared evenly.
    """
    uneven = [batch for batch in batches if batch < RANKS or batch % RANKS]
    if uneven:
        raise ConfigError(
            f"batch: expected a multiple of {RANKS}, the same for every rank, found {uneven[0]}"
        )
    rows = []
    for batch in batches:
        for precision in precisions:
            work = batch, frames, size, precision == "bf16", stages
            with (
                apart(training_step, *work, threads=RANKS) as alone,
                together(training_step, *work) as shared,
            ):
                rows.append(Speed(batch, precision, alternate(alone, shared, pairs)))
    return rows


@contextmanager
def together(make: Callable[..., Function], *args: object) -> Iterator[Callable[[], list[object]]]:
    """What all ranks do at once, each in a process and a thread of its own, when it is called.

    Args:
        make: gives a rank its function: called there as ``make(*args, ranks=ranks)``.
        args: of `make`; can be pickled.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with ThreadPoolExecutor(RANKS) as pool, ExitStack() as stack:
        # Each waits for the others to join, so none may be waited for before all have started.
        starting = [
            apart(
                _joined,
                make,
                args,
                environment=place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(RANKS)
        ]
        ranks = list(pool.map(stack.enter_context, starting))
        yield lambda: list(pool.map(Apart.__call__, ranks))


@contextmanager
def _joined(make: Callable[..., Function], args: tuple[object, ...]) -> Iterator[Function]:
    with joined(PATIENCE) as ranks:
        yield make(*args, ranks=ranks)


def table(rows: Sequence[Speed]) -> str:
    """One line a setting, as Markdown."""
    lines = [
        f"| batch | precision | one process, {RANKS} threads | {RANKS} ranks of one thread | "
        "ratio (95 % interval) |",
        "| ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        alone, shared = (row.batch / np.median(times) for times in (row.pairs.one, row.pairs.other))
        ratio, low, high = row.ratio()
        lines.append(
            f"| {row.batch} | {row.precision} | {alone:.2f} clips/s | {shared:.2f} clips/s | "
            f"{ratio:.3f} ({low:.3f} to {high:.3f}) |"
        )
    return "\n".join(lines)
