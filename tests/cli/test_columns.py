"""Every score of every task states what a perfect forecast has, in its own unit."""

import numpy as np
import pytest
import torch

from nowcast.core.scoring.table import Column
from nowcast.glue.scores import METRICS, read_metrics, sums_of_classes
from nowcast.imagenet.scores import COLUMNS, DETAILS, read, sums_of
from nowcast.precipitation.task import PrecipitationTask


def glue_columns() -> list[Column]:
    return [metric.column(name) for name, metrics in METRICS.items() for metric in metrics]


def test_every_column_has_a_perfect_score_within_its_limits():
    rain = [*PrecipitationTask.columns, *PrecipitationTask.details]
    for column in (*rain, *glue_columns(), *COLUMNS, *DETAILS):
        low, high = column.limits
        assert column.perfect is not None, column
        assert low is None or low <= column.perfect, column
        assert high is None or column.perfect <= high, column
        # Nothing can be better than perfect.
        best = {"less": low, "more": high, "one": 1.0}
        assert column.best == "level" or column.perfect == best[column.best], column


def test_perfect_answers_have_perfect_scores():
    pytest.importorskip("sklearn", reason="needs memel-nowcast[glue]")
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    images = read(sums_of(torch.eye(7) * 1e4, labels))
    assert {c.score: c.perfect for c in (*COLUMNS, *DETAILS)} == {
        name: images.values[name] for name in ("top1", "top5", "cross_entropy")
    }
    answers = torch.tensor([0, 1, 1, 0])
    sums = sums_of_classes(torch.eye(2)[answers] * 1e4, answers, np.zeros(4, np.int64), 1)
    for data_set in ("cola", "mrpc", "rte"):
        found = read_metrics(sums, METRICS[data_set])
        for metric in METRICS[data_set]:
            assert found[metric.score] == pytest.approx(metric.column(data_set).perfect)
