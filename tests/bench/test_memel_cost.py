"""The cost of MEmeL: a real model is timed with its layers and without."""

import torch

from scripts.bench.benchmark import Asked
from scripts.bench.memel import BENCHMARK, measure


def test_measures_pairs_of_steps():
    threads = torch.get_num_threads()
    (row,) = measure(Asked(batch=[1], threads=[1], precision=["fp32"], pairs=2), size=30)
    torch.set_num_threads(threads)
    assert len(row["without"]) == len(row["with_memel"]) == 2
    ratio, low, high = row["ratio"]
    assert 0 < low <= ratio <= high
    assert BENCHMARK.table([row]).splitlines()[2].startswith("| 1 | 1 | fp32 | ")
