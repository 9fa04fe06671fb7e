"""Pooling and averaging over episodes answer two questions, and the second counts the defined."""

import numpy as np
import pytest

from nowcast.core.scoring.pooling import block_mean, pooled
from nowcast.core.scoring.sums import Scores, Sums


def part(hits: int, events: int) -> Sums:
    return Sums({"hits": np.array(hits), "events": np.array(events)})


def read(sums: Sums) -> Scores:
    hits, events = int(sums["hits"]), int(sums["events"])
    pod = hits / events if events else None
    why = {} if events else {"pod/2": "no event"}
    return Scores({"pod/2": pod}, {"pod/2": (pod,)}, "minutes", (5.0,), {"events": events}, {}, why)


def test_a_long_episode_counts_more_when_pooled_and_the_same_when_averaged():
    parts = [part(90, 100), part(1, 2), part(0, 0)]
    assert read(pooled(parts)).values["pod/2"] == pytest.approx(91 / 102)
    scores = block_mean(parts, read)
    assert scores.values["pod/2"] == pytest.approx((0.9 + 0.5) / 2)
    assert scores.curves["pod/2"] == (pytest.approx(0.7),)
    assert scores.support == {"events": 102, "blocks": 3, "defined_blocks/pod/2": 2}
    assert scores.why == {}
    assert Scores.from_document(scores.document()) == scores


def test_a_score_that_no_episode_defines_keeps_its_reason():
    scores = block_mean([part(0, 0), part(0, 0)], read)
    assert scores.values["pod/2"] is None
    assert scores.support["defined_blocks/pod/2"] == 0
    assert scores.why == {"pod/2": "no event"}


def test_there_must_be_a_part():
    with pytest.raises(ValueError, match="at least one part"):
        pooled([])
