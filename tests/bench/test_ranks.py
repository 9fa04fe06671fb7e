"""Two ranks beside one process: they are one group, called at once, and share a batch evenly."""

import os
from collections.abc import Callable

import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import Ranks, sum_over_ranks
from nowcast.precipitation.forecasters.encoder_forecaster import Stage
from scripts.bench.benchmark import Asked
from scripts.bench.ranks import BENCHMARK, measure, together


def adding(start: int, ranks: Ranks) -> Callable[[], object]:
    return lambda: (
        int(sum_over_ranks(torch.tensor(start + ranks.rank))),
        ranks.size,
        torch.get_num_threads(),
    )


def test_ranks_work_together_each_in_one_thread():
    with together(adding, 5) as step:
        assert step() == step() == [(11, 2, 1), (11, 2, 1)]
        assert "RANK" not in os.environ


@pytest.mark.slow
def test_measures_pairs_of_steps(monkeypatch: pytest.MonkeyPatch):
    # Threads that wait awake for each other take seconds where other tests have the cores.
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    stages = [Stage(channels=2, hidden=2, kernel=3, down=(3, 2, 1), up=(4, 2, 1))]
    asked = Asked(batch=[2], precision=["bf16"], pairs=2)
    (row,) = measure(asked, size=8, stages=stages)
    assert len(row["process"]) == len(row["ranks"]) == 2


def test_an_uneven_batch_is_refused():
    with pytest.raises(ConfigError, match=r"multiple of 2.*found 3"):
        measure(Asked(batch=[4, 3]))


def test_the_table_is_in_clips_per_second():
    row = {"batch": 4, "precision": "fp32", "process": (2.0,), "ranks": (2.5,)}
    line = BENCHMARK.table([row | {"ratio": (0.8, 0.7, 0.9)}]).splitlines()[-1]
    assert line == "| 4 | fp32 | 2.00 clips/s | 1.60 clips/s | 0.800 (0.700 to 0.900) |"
