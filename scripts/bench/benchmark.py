"""What all benchmarks share: what may be asked of them, calls timed in turns, rows and tables.

Two ways to do one thing take turns: what a noisy machine does to one it does to both. A row is what
JSON holds of it; a table shows some of that.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nowcast.core.errors import ConfigError

Row = dict[str, Any]
Cells = dict[str, str]


@dataclass(frozen=True)
class Asked:
    """What to measure; a benchmark uses some of it.

    Args:
        batch: clips of a step.
        threads: of torch.
        precision: ``fp32``, and ``bf16`` for autocast.
        pairs: calls of each way.
        root: an archive.
        device: ``cpu`` or ``cuda``.
    """

    batch: Sequence[int] = (4, 16)
    threads: Sequence[int] = (1, 2)
    precision: Sequence[str] = ("fp32", "bf16")
    pairs: int = 9
    root: Path | None = None
    device: str = "cpu"

    def only(self, name: str) -> int:
        """The one value of `batch` or `threads`; raises `ConfigError` for several."""
        values: Sequence[int] = getattr(self, name)
        if len(values) != 1:
            found = ", ".join(map(str, values))
            raise ConfigError(f"--{name}: expected one value in this benchmark, found {found}")
        return values[0]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        about: what it measures, a line.
        measure: its rows.
        cells: of a row, by the column's title.
        note: what to say under the table.
        uses: which fields of `Asked`, and ``isa`` if torch's instructions matter.
        defaults: of these.
    """

    about: str
    measure: Callable[[Asked], list[Row]]
    cells: Callable[[Row], Cells]
    note: Callable[[Sequence[Row]], str]
    uses: tuple[str, ...]
    defaults: Asked = Asked()

    def table(self, rows: Sequence[Row]) -> str:
        """A line a row, as Markdown, and the note; which instructions torch used comes first."""
        cells = [_instructions(row) | self.cells(row) for row in rows]
        titles = list(cells[0])
        lines = [titles, ["---"] * len(titles), *(each.values() for each in cells)]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(filter(None, [text, self.note(rows)]))


def _instructions(row: Row) -> Cells:
    return {"instructions": f"{row['isa']}: {row['instructions']}"} if "isa" in row else {}


def ratio(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Median of one / other over pairs of calls, and its 95 % interval (bootstrap)."""
    ratios = np.divide(one, other)
    found = stats.bootstrap((ratios,), np.median, method="percentile", rng=0)
    low, high = found.confidence_interval
    return float(np.median(ratios)), float(low), float(high)


def interval(found: Sequence[float] | None, digits: int = 2) -> str:
    """A ratio with its interval, for a table; a dash if there is none."""
    if found is None:
        return "-"
    middle, low, high = (f"{value:.{digits}f}" for value in found)
    return f"{middle} ({low} to {high})"


def in_turns(
    functions: Sequence[Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[tuple[float, ...]], list[list[object]]]:
    """Call all once to warm up, then `rounds` times in turns, backwards in every second round.

    `clock` may be `time.process_time` for work of one thread: on a busy machine it leaves out the
    time in which others had the processor.

    Returns:
        of each, the seconds of its calls; and what it returned, from the warm-up on.
    """
    results = [[function()] for function in functions]
    seconds: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds):
        order = range(len(functions))
        for position in order if turn % 2 else reversed(order):
            began = clock()
            results[position].append(functions[position]())
            seconds[position].append(clock() - began)
    return [tuple(times) for times in seconds], results


def milliseconds(seconds: Iterable[float]) -> float:
    """The median."""
    return 1000 * float(np.median(list(seconds)))


def no_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """For a table that says all."""
    return ""
