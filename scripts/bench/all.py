"""Every benchmark by its name, in the order in which all are measured, and one of them done."""

from collections.abc import Callable
from dataclasses import replace

import torch

from nowcast.core.training.precision import computes_bf16
from scripts.bench import growth, latency, loader, members, memel, ranks, scores, start, training
from scripts.bench.benchmark import Asked, Benchmark, Row
from scripts.bench.instructions import in_use

BENCHMARKS: dict[str, Benchmark] = {
    "training": training.BENCHMARK,
    "memel": memel.BENCHMARK,
    "ranks": ranks.BENCHMARK,
    "growth": growth.BENCHMARK,
    "latency": latency.BENCHMARK,
    "members": members.BENCHMARK,
    "loader": loader.BENCHMARK,
    "scores": scores.BENCHMARK,
    "start": start.BENCHMARK,
}


def measuring(name: str, isa: str, given: dict[str, object]) -> Callable[[], list[Row]]:
    """What measures a benchmark in a process whose instructions are limited to `isa` already.

    Its rows say which these were. bf16 is left out where it is emulated, unless it is asked for:
    a step then takes ten times as long.
    """
    benchmark = BENCHMARKS[name]
    asked: Asked = replace(benchmark.defaults, **given)  # type: ignore[arg-type]
    if "precision" not in given and not computes_bf16(torch.device(asked.device)):
        asked = replace(asked, precision=[each for each in asked.precision if each != "bf16"])

    def measure() -> list[Row]:
        rows = benchmark.measure(asked)
        return [{"isa": isa, "instructions": in_use()} | row for row in rows]

    return measure
