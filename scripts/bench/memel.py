"""The cost of MEmeL: a training step of the paper's ConvGRU with its six layers and without."""

from collections.abc import Sequence

import numpy as np
import torch

from nowcast.core.memel import fused
from nowcast.core.memel.plug import plug_in, unplug
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES
from scripts.bench.benchmark import Asked, Benchmark, Cells, Row, in_turns, interval, ratio
from scripts.bench.step import LR, clips, network, steps_of

FRAMES = 10  # in and out; Wang et al. 2024


def measure(asked: Asked, size: int = 120) -> list[Row]:
    """Time alternating steps of one model, its sockets empty and filled in turn."""
    return [
        _measured(batch, threads, precision, asked.pairs, size, asked.device)
        for batch in asked.batch
        for threads in asked.threads
        for precision in asked.precision
    ]


def _measured(batch: int, threads: int, precision: str, pairs: int, size: int, device: str) -> Row:
    torch.set_num_threads(threads)
    model = network(PAPER_STAGES, FRAMES).to(device)
    inputs, truth = (part.to(device) for part in clips(batch, FRAMES, size))
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    step = steps_of(model, optimiser, inputs, truth, precision == "bf16")
    layers = plug_in(model, "*.candidate", dry_run=lambda host: host(inputs[:1]))
    step()
    step()  # now every layer inhibits, and its statistics forget
    assert all(layer.num_batches_tracked >= layer.late_start for layer in layers.values())
    empty = unplug(model)

    def with_memel() -> None:
        for site in empty:
            model.set_submodule(site, layers[site])
        step()
        for site in empty:
            model.set_submodule(site, layers[site].socket[0])

    (without, filled), _ = in_turns((step, with_memel), pairs)
    return {
        "batch": batch,
        "threads": threads,
        "precision": precision,
        "device": device,
        "in_c": fused.available and device == "cpu",
        "without": without,
        "with_memel": filled,
        "ratio": ratio(filled, without),
    }


def cells(row: Row) -> Cells:
    """Of a line."""
    return {
        "batch": f"{row['batch']}",
        "threads": f"{row['threads']}",
        "precision": row["precision"],
        "step without": f"{np.median(row['without']):.2f} s",
        "with MEmeL": f"{np.median(row['with_memel']):.2f} s",
        "ratio (95 % interval)": interval(row["ratio"], 3),
    }


def note(rows: Sequence[Row]) -> str:
    """How MEmeL is computed."""
    lacking = ": it was installed without a C compiler" if rows[0]["device"] == "cpu" else ""
    way = "C" if rows[0]["in_c"] else f"torch operations{lacking}"
    return f"MEmeL works in {way}."


BENCHMARK = Benchmark(
    "what six MEmeL layers add to a training step of the paper's ConvGRU",
    measure,
    cells,
    note,
    ("batch", "threads", "precision", "pairs", "device", "isa"),
)
