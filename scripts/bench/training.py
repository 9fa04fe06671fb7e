"""The training step beside a straightforward one and the machine's limit: time, loss and memory."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, Stage
from scripts.bench.apart import Apart, apart
from scripts.bench.paired import Pairs, in_turns
from scripts.bench.step import LR, clips, network, steps_of, training_step
from scripts.bench.straightforward import DenseMEmeL, PlainEncoderForecaster

MATRIX = 2048  # side of the matrices whose product is the machine's limit
PRODUCTS = 8  # in a row
PRECISIONS = ["fp32", "bf16"]


@dataclass(frozen=True)
class Training:
    """What was timed, every way in a process of its own and all in turns.

    Args:
        batch: clips.
        threads: of torch.
        precision: of the program's step: ``fp32`` or ``bf16``; the straightforward one is fp32.
        recompute: whether the program's step kept of each time step the state alone.
        gflop: arithmetic of a step, as the straightforward one does it.
        pairs: seconds of the straightforward step and of the program's.
        matrix_gflop_s: of the matrix product in this precision, call for call beside them.
        loss_apart: the largest relative difference of their losses, step for step.
        memory_mib: by how much the program's process was larger than before the network was made.
        plain_memory_mib: likewise, of the straightforward one.
    """

    batch: int
    threads: int
    precision: str
    recompute: bool
    gflop: float
    pairs: Pairs
    matrix_gflop_s: tuple[float, ...]
    loss_apart: float
    memory_mib: float
    plain_memory_mib: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        names = ("faster", "faster_low", "faster_high")
        return asdict(self) | dict(zip(names, self.faster(), strict=True)) | {"share": self.share()}

    def faster(self) -> tuple[float, float, float]:
        """How many times as fast as the straightforward step, and its 95 % interval."""
        ratio, low, high = self.pairs.ratio()
        return 1 / ratio, 1 / high, 1 / low

    def share(self) -> float:
        """Arithmetic per second as a share of the matrix product's; the median over turns."""
        reached = self.gflop / np.array(self.pairs.other)
        return float(np.median(reached / np.array(self.matrix_gflop_s)))


def measure(
    batches: Sequence[int],
    threads: Sequence[int],
    turns: int,
    size: int = 120,
    frames: int = 10,
    stages: Sequence[Stage] = PAPER_STAGES,
    matrix: int = MATRIX,
) -> list[Training]:
    """Time all ways to do a step for each batch and number of threads.

    Args:
        batches: clips of a step.
        threads: of torch.
        turns: steps of each way.
        size: height and width, a multiple of 30.
        frames: in, and as many out.
        stages: the paper's, or smaller ones for a test.
        matrix: side of the matrices.
    """
    rows: list[Training] = []
    for count in threads:
        for batch in batches:
            rows += _measure((batch, frames, size), count, turns, stages, matrix)
    return rows


WAYS = [(precision, recompute) for recompute in (False, True) for precision in PRECISIONS]


def _measure(
    work: tuple[int, int, int], threads: int, turns: int, stages: Sequence[Stage], matrix: int
) -> list[Training]:
    with ExitStack() as stack:

        def start(make: Callable[..., Any], *args: object) -> Apart:
            environment = {"OMP_NUM_THREADS": str(threads)}
            process = apart(make, *args, threads=threads, environment=environment)
            return stack.enter_context(process)

        plain = start(straightforward, *work, stages)
        products = [start(product, matrix, precision) for precision in PRECISIONS]
        ours = [
            start(training_step, *work, precision == "bf16", stages, None, recompute)
            for precision, recompute in WAYS
        ]
        seconds, losses = in_turns((plain, *products, *ours), turns)
        before = 1 + len(products)
        return [
            Training(
                batch=work[0],
                threads=threads,
                precision=precision,
                recompute=recompute,
                gflop=arithmetic(*work, stages),
                pairs=Pairs(seconds[0], seconds[before + place]),
                matrix_gflop_s=tuple(
                    PRODUCTS * 2 * matrix**3 / 1e9 / took
                    for took in seconds[1 + PRECISIONS.index(precision)]
                ),
                loss_apart=_apart(losses[0], losses[before + place]),
                memory_mib=ours[place].peak_mib(),
                plain_memory_mib=plain.peak_mib(),
            )
            for place, (precision, recompute) in enumerate(WAYS)
        ]


def _apart(losses: Sequence[Any], others: Sequence[Any]) -> float:
    one, other = np.array(losses, float), np.array(others, float)
    return float(np.abs(other / one - 1).max())


def straightforward(
    batch: int, frames: int, size: int, stages: Sequence[Stage]
) -> Callable[[], float]:
    """The yardstick's step, with the weights and frames of `training_step`, as far along."""
    model = PlainEncoderForecaster(stages, frames)
    layers = [layer for layer in model.modules() if isinstance(layer, DenseMEmeL)]
    weights = network(stages, frames).state_dict()
    model.load_state_dict({name: value.contiguous() for name, value in weights.items()})
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    step = steps_of(model, optimiser, *clips(batch, frames, size), bf16=False)
    while any(layer.batches < layer.late_start for layer in layers):
        step()
    return step


def product(side: int, precision: str) -> Callable[[], None]:
    """`PRODUCTS` products of two square matrices, so that all but the first find them in caches."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = torch.rand(2, side, side).to(dtype)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            torch.mm(one, other)

    return multiply


def arithmetic(batch: int, frames: int, size: int, stages: Sequence[Stage]) -> float:
    """GFLOP of a straightforward step, counted by torch: two for each multiplication and sum."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = PlainEncoderForecaster(stages, frames)
        model(torch.empty(1, frames, 1, size, size)).sum().backward()
    return batch * float(counter.get_total_flops()) / 1e9


def table(rows: Sequence[Training]) -> str:
    """One line a way, as Markdown."""
    lines = [
        "| batch | threads | precision | straightforward | it | times as fast (95 % interval) | "
        "of the matrix product | loss apart | memory, of the straightforward |",
        "| ---: | ---: | --- | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        plain, ours = np.median(row.pairs.one), np.median(row.pairs.other)
        faster, low, high = row.faster()
        lines.append(
            f"| {row.batch} | {row.threads} | {row.precision}"
            f"{', time steps recomputed' * row.recompute} | {plain:.2f} s | {ours:.2f} s | "
            f"{faster:.2f} ({low:.2f} to {high:.2f}) | {row.share():.2f} | {row.loss_apart:.0e} | "
            f"{row.memory_mib:.0f} of {row.plain_memory_mib:.0f} MiB: "
            f"{row.memory_mib / row.plain_memory_mib:.2f} |"
        )
    gflop = rows[0].gflop / rows[0].batch
    return "\n".join([*lines, "", f"Arithmetic of a step: {gflop:.1f} GFLOP a clip."])
