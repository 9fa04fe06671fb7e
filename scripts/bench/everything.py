"""All benchmarks, one after the other, at the sizes that the README tells of."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowcast.precipitation.synthetic.archive import write_synthetic
from scripts.bench import growth, latency, loader, memel, ranks, scores, start, training

BATCHES, THREADS = (4, 16), (1, 2)
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Part:
    """One benchmark: what it is called, its rows as JSON and its table."""

    title: str
    rows: list[dict[str, Any]]
    table: str


def measured() -> Iterator[Part]:
    """Each benchmark as soon as it is measured; a quarter of an hour on two cores."""
    for title, measure in BENCHMARKS.items():
        rows, table = measure()
        yield Part(title, [row.document() for row in rows], table(rows))


Measured = tuple[list[Any], Callable[[list[Any]], str]]


def _training() -> Measured:
    return training.measure(BATCHES, THREADS, turns=5), training.table


def _memel() -> Measured:
    rows = [
        memel.measure(batch, threads, precision == "bf16", pairs=9)
        for batch in BATCHES
        for threads in THREADS
        for precision in PRECISIONS
    ]
    return rows, memel.table


def _ranks() -> Measured:
    return ranks.measure(BATCHES, PRECISIONS, pairs=7), ranks.table


def _growth() -> Measured:
    rows = [
        row
        for bf16 in (False, True)
        for row in growth.measure(2, bf16, 5, growth.FRAMES, growth.SIDES, growth.BATCHES)
    ]
    return rows, growth.table


def _latency() -> Measured:
    return latency.measure(threads=2, pairs=7), latency.table


def _loader() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "rain"
        write_synthetic(root, days=3, seed=0, height=480, width=480)
        return loader.measure(root, clips=16, pairs=15), loader.table


def _scores() -> Measured:
    rows = [row for threads in THREADS for row in scores.measure(16, 10, 120, threads, 51)]
    return rows, scores.table


def _start() -> Measured:
    return start.measure(pairs=11), start.table


BENCHMARKS: dict[str, Callable[[], Measured]] = {
    "training": _training,
    "memel": _memel,
    "ranks": _ranks,
    "growth": _growth,
    "latency": _latency,
    "loader": _loader,
    "scores": _scores,
    "start": _start,
}
