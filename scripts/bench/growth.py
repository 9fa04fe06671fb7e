"""How the time of a training step grows with frames, pixels and clips: one at a time, as a power.

The steps of all settings take turns in an order drawn anew for each round, so that a slow minute of
the machine is not one setting's.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch
from scipy.stats import linregress

from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.benchmark import Asked, Benchmark, Cells, Row
from scripts.bench.step import training_step

Work = tuple[int, int, int]  # clips; frames in, and as many out; height and width

FIXED: Work = (4, 10, 120)  # what the other two are while one changes
AXES = {"clips": (2, 4, 8, 16), "frames": (5, 10, 15, 20), "side": (60, 90, 120, 180, 240)}


def measure(
    asked: Asked,
    axes: dict[str, Sequence[int]] | None = None,
    fixed: Work = FIXED,
    stages: Sequence[Stage] = PAPER_STAGES,
) -> list[Row]:
    """Time steps of the paper's ConvGRU with MEmeL along each axis.

    Args:
        asked: one number of threads.
        axes: values along each of `AXES`, in this order.
        fixed: see `FIXED`.
        stages: the paper's, or smaller ones for a test.
    """
    threads = asked.only("threads")
    torch.set_num_threads(threads)
    along: dict[str, list[Work]] = {}
    for place, (name, values) in enumerate((axes or AXES).items()):
        along[name] = []
        for value in values:
            work = list(fixed)
            work[place] = value
            along[name].append((work[0], work[1], work[2]))
    works = list(dict.fromkeys(work for line in along.values() for work in line))
    rows = []
    for precision in asked.precision:
        steps = [training_step(*work, precision == "bf16", stages) for work in works]
        seconds: dict[Work, list[float]] = {work: [] for work in works}
        rng = np.random.default_rng(0)
        for _ in range(asked.pairs):
            for position in rng.permutation(len(works)):
                began = perf_counter()
                steps[position]()
                seconds[works[position]].append(perf_counter() - began)
        for place, (name, line) in enumerate(along.items()):
            varied = [work[place] for work in line]
            times = [seconds[work] for work in line]
            rows.append(
                {"axis": name, "precision": precision, "threads": threads, "fixed": fixed}
                | {"values": varied, "seconds": times}
                | exponent([value**2 if name == "side" else value for value in varied], times)
            )
    return rows


def exponent(amounts: Sequence[int], seconds: Sequence[Sequence[float]]) -> Row:
    """Of time as a power of the amount, by least squares on logarithms, and standard error."""
    found = linregress(np.log(amounts), np.log([np.median(times) for times in seconds]))
    return {"exponent": float(found.slope), "error": float(found.stderr)}


def cells(row: Row) -> Cells:
    """Of a line."""
    clips, frames, side = row["fixed"]
    fixed = {"clips": f"batch {clips}", "frames": f"{frames}+{frames} frames", "side": f"{side}²"}
    times = zip(row["values"], row["seconds"], strict=True)
    return {
        "against": {"side": "pixels of a frame"}.get(row["axis"], row["axis"]),
        "precision": row["precision"],
        "threads": f"{row['threads']}",
        "fixed": ", ".join(text for name, text in fixed.items() if name != row["axis"]),
        "a step": ", ".join(
            f"{value}{'²' * (row['axis'] == 'side')}: {np.median(seconds):.2f} s"
            for value, seconds in times
        ),
        "exponent": f"{row['exponent']:.2f} ± {row['error']:.2f}",
    }


def note(rows: Sequence[Row]) -> str:
    """How to read the exponent."""
    return "An exponent of 1 is time in proportion."


BENCHMARK = Benchmark(
    "how the time of a training step grows with frames, crop and batch, one at a time",
    measure,
    cells,
    note,
    ("threads", "precision", "pairs", "isa"),
    Asked(threads=(2,), pairs=5),
)
