"""Two ranks of one thread beside one process of two: what DDP costs where it gains no core."""

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import joined
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.apart import Apart, Function, apart
from scripts.bench.benchmark import (
    Asked,
    Benchmark,
    Cells,
    Row,
    in_turns,
    interval,
    no_note,
    ratio,
)
from scripts.bench.step import training_step

RANKS = 2
PATIENCE = timedelta(minutes=2)  # far more than a step, so that a lost rank is soon reported


def measure(
    asked: Asked, size: int = 120, frames: int = 10, stages: Sequence[Stage] = PAPER_STAGES
) -> list[Row]:
    """Time steps of the paper's ConvGRU with MEmeL, in one process and in two ranks in turns.

    Args:
        asked: batches are of all ranks together.
        size: height and width, a multiple of 30.
        frames: in, and as many out.
        stages: the paper's, or smaller ones for a test.

    Raises:
        ConfigError: a batch cannot be shared evenly.
    """
    uneven = [batch for batch in asked.batch if batch < RANKS or batch % RANKS]
    if uneven:
        raise ConfigError(
            f"batch: expected a multiple of {RANKS}, the same for every rank, found {uneven[0]}"
        )
    rows = []
    for batch in asked.batch:
        for precision in asked.precision:
            work = batch, frames, size, precision == "bf16", stages
            with (
                apart(training_step, *work, threads=RANKS) as alone,
                together(training_step, *work) as shared,
            ):
                (one, ranks), _ = in_turns((alone, shared), asked.pairs)
            row = {"batch": batch, "precision": precision, "process": one, "ranks": ranks}
            rows.append(row | {"ratio": ratio(one, ranks)})
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
    group = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with ThreadPoolExecutor(RANKS) as pool, ExitStack() as stack:
        # Each waits for the others to join, so none may be waited for before all have started.
        starting = [
            apart(
                _joined,
                make,
                args,
                environment=group | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(RANKS)
        ]
        ranks = list(pool.map(stack.enter_context, starting))
        yield lambda: list(pool.map(Apart.__call__, ranks))


@contextmanager
def _joined(make: Callable[..., Function], args: tuple[object, ...]) -> Iterator[Function]:
    with joined(PATIENCE) as ranks:
        yield make(*args, ranks=ranks)


def cells(row: Row) -> Cells:
    """Of a line, in clips per second."""
    alone, shared = (row["batch"] / np.median(row[way]) for way in ("process", "ranks"))
    return {
        "batch": f"{row['batch']}",
        "precision": row["precision"],
        f"one process, {RANKS} threads": f"{alone:.2f} clips/s",
        f"{RANKS} ranks of one thread": f"{shared:.2f} clips/s",
        "ratio (95 % interval)": interval(row["ratio"], 3),
    }


BENCHMARK = Benchmark(
    "two ranks of one thread beside one process of two",
    measure,
    cells,
    no_note,
    ("batch", "precision", "pairs", "isa"),
    Asked(pairs=7),
)
