"""The cost of MEmeL: the model that is timed has its layers, and the table says what was found."""

import torch

from scripts.bench.memel import Cost, measure, table
from scripts.bench.paired import Pairs


def test_measures_pairs_of_steps():
    threads = torch.get_num_threads()
    cost = measure(batch=1, threads=1, bf16=False, pairs=2, size=30)
    torch.set_num_threads(threads)
    assert (cost.batch, cost.threads, cost.precision) == (1, 1, "fp32")
    assert len(cost.pairs.one) == len(cost.pairs.other) == 2
    document = cost.document()
    assert document["ratio_low"] <= document["ratio"] <= document["ratio_high"]


def test_table_has_a_line_a_setting():
    lines = table([Cost(4, 2, "bf16", True, Pairs((2.0, 2.0), (2.1, 2.1)))]).splitlines()
    assert lines[-1] == "MEmeL works in C."
    assert lines[-3] == "| 4 | 2 | bf16 | 2.00 s | 2.10 s | 1.050 (1.050 to 1.050) |"
