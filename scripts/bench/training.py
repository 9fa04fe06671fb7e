"""The training step beside a straightforward one and the machine's limit: time, loss and memory."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.apart import Apart, apart
from scripts.bench.benchmark import Asked, Benchmark, Cells, Row, in_turns, interval, ratio
from scripts.bench.step import LR, clips, network, steps_of, training_step
from scripts.bench.straightforward import DenseMEmeL, PlainEncoderForecaster

MATRIX = 2048  # side of the matrices whose product is the machine's limit
PRODUCTS = 8  # in a row
WAYS = [(precision, recompute) for recompute in (False, True) for precision in ("fp32", "bf16")]


def measure(
    asked: Asked,
    size: int = 120,
    frames: int = 10,
    stages: Sequence[Stage] = PAPER_STAGES,
    matrix: int = MATRIX,
) -> list[Row]:
    """Time all ways to do a step for each batch and number of threads, each in a process.

    The straightforward step is fp32. `loss_apart` is the largest relative difference from its
    losses, step for step; `share` is arithmetic per second as a share of the matrix product's.

    Args:
        asked: batches, threads and precisions.
        size: height and width, a multiple of 30.
        frames: in, and as many out.
        stages: the paper's, or smaller ones for a test.
        matrix: side of the matrices.
    """
    return [
        row
        for threads in asked.threads
        for batch in asked.batch
        for row in _measure((batch, frames, size), threads, asked, stages, matrix)
    ]


def _measure(
    work: tuple[int, int, int], threads: int, asked: Asked, stages: Sequence[Stage], matrix: int
) -> list[Row]:
    device, precisions = asked.device, list(asked.precision)
    ways = [way for way in WAYS if way[0] in precisions]
    with ExitStack() as stack:

        def start(make: Callable[..., Any], *args: object) -> Apart:
            environment = {"OMP_NUM_THREADS": str(threads)}
            process = apart(make, *args, threads=threads, environment=environment)
            return stack.enter_context(process)

        plain = start(straightforward, *work, stages, device)
        products = [start(product, matrix, precision, device) for precision in precisions]
        ours = [
            start(training_step, *work, precision == "bf16", stages, None, recompute, device)
            for precision, recompute in ways
        ]
        seconds, losses = in_turns((plain, *products, *ours), asked.pairs)
        gflop = arithmetic(*work, stages)
        rows = []
        for at, (precision, recompute) in enumerate(ways, start=1 + len(products)):
            limit = np.array(seconds[1 + precisions.index(precision)])
            limit = PRODUCTS * 2 * matrix**3 / 1e9 / limit
            rows.append(
                {"batch": work[0], "threads": threads, "precision": precision}
                | {"recompute": recompute, "gflop": gflop}
                | {"straightforward": seconds[0], "seconds": seconds[at]}
                | {"faster": ratio(seconds[0], seconds[at])}
                | {"share": float(np.median(gflop / np.array(seconds[at]) / limit))}
                | {"loss_apart": _apart(losses[0], losses[at])}
                | {"memory_mib": ours[at - 1 - len(products)].peak_mib()}
                | {"plain_memory_mib": plain.peak_mib()}
            )
        return rows


def _apart(losses: Sequence[Any], others: Sequence[Any]) -> float:
    one, other = np.array(losses, float), np.array(others, float)
    return float(np.abs(other / one - 1).max())


def straightforward(
    batch: int, frames: int, size: int, stages: Sequence[Stage], device: str = "cpu"
) -> Callable[[], float]:
    """The yardstick's step, with the weights and frames of `training_step`, as far along."""
    model = PlainEncoderForecaster(stages, frames)
    layers = [layer for layer in model.modules() if isinstance(layer, DenseMEmeL)]
    weights = network(stages, frames).state_dict()
    model.load_state_dict({name: value.contiguous() for name, value in weights.items()})
    model.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    inputs, truth = (part.to(device) for part in clips(batch, frames, size))
    step = steps_of(model, optimiser, inputs, truth, bf16=False)
    while any(layer.batches < layer.late_start for layer in layers):
        step()
    return step


def product(side: int, precision: str, device: str = "cpu") -> Callable[[], float]:
    """`PRODUCTS` products of two square matrices, so that all but the first find them in caches."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = torch.rand(2, side, side).to(device, dtype)

    def multiply() -> float:
        for _ in range(PRODUCTS):
            found = torch.mm(one, other)
        return float(found[0, 0])  # a GPU is waited for

    return multiply


def arithmetic(batch: int, frames: int, size: int, stages: Sequence[Stage]) -> float:
    """GFLOP of a straightforward step, counted by torch: two for each multiplication and sum."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = PlainEncoderForecaster(stages, frames)
        model(torch.empty(1, frames, 1, size, size)).sum().backward()
    return batch * float(counter.get_total_flops()) / 1e9


def cells(row: Row) -> Cells:
    """Of a line."""
    memory, plain = row["memory_mib"], row["plain_memory_mib"]
    return {
        "batch": f"{row['batch']}",
        "threads": f"{row['threads']}",
        "precision": f"{row['precision']}{', time steps recomputed' * row['recompute']}",
        "straightforward": f"{np.median(row['straightforward']):.2f} s",
        "it": f"{np.median(row['seconds']):.2f} s",
        "times as fast (95 % interval)": interval(row["faster"]),
        "of the matrix product": f"{row['share']:.2f}",
        "loss apart": f"{row['loss_apart']:.0e}",
        "memory, of the straightforward": f"{memory:.0f} of {plain:.0f} MiB: {memory / plain:.2f}",
    }


def note(rows: Sequence[Row]) -> str:
    """How much arithmetic a step is."""
    return f"Arithmetic of a step: {rows[0]['gflop'] / rows[0]['batch']:.1f} GFLOP a clip."


BENCHMARK = Benchmark(
    "a training step beside a straightforward one: time, memory, loss, share of the limit",
    measure,
    cells,
    note,
    ("batch", "threads", "precision", "pairs", "device", "isa"),
    Asked(pairs=5),
)
