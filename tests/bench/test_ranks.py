"""Two ranks beside one process: they are one group, called at once, and share a batch evenly."""

import os
from collections.abc import Callable

import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.core.system.distributed import Ranks, sum_over_ranks
from nowcast.precipitation.forecasters.encoder_forecaster import Stage
from scripts.bench.paired import Pairs
from scripts.bench.ranks import Speed, measure, table, together


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
    (row,) = measure([2], ["bf16"], pairs=2, size=8, stages=stages)
    assert (row.batch, row.precision) == (2, "bf16")
    assert len(row.pairs.one) == len(row.pairs.other) == 2
    document = row.document()
    assert document["ratio_low"] <= document["ratio"] <= document["ratio_high"]


def test_an_uneven_batch_is_refused():
    with pytest.raises(ConfigError, match=r"multiple of 2.*found 3"):
        measure([4, 3], ["fp32"], pairs=2)


def test_table_has_a_line_a_setting_in_clips_per_second():
    lines = table([Speed(4, "fp32", Pairs((2.0, 2.0), (2.5, 2.5)))]).splitlines()
    assert lines[-1] == "| 4 | fp32 | 2.00 clips/s | 1.60 clips/s | 0.800 (0.800 to 0.800) |"
