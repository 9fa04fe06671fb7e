"""Every benchmark by its name, in the order in which all are measured."""

from scripts.bench import growth, latency, loader, memel, ranks, scores, start, training
from scripts.bench.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "training": training.BENCHMARK,
    "memel": memel.BENCHMARK,
    "ranks": ranks.BENCHMARK,
    "growth": growth.BENCHMARK,
    "latency": latency.BENCHMARK,
    "loader": loader.BENCHMARK,
    "scores": scores.BENCHMARK,
    "start": start.BENCHMARK,
}
