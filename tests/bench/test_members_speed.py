"""Members: each ensemble takes its turn, and STEPS may be missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from scripts.bench import members
from scripts.bench.benchmark import Asked
from scripts.bench.members import LAGGED, OURS, make, measure
from tests.bench.here import Here


def test_without_pysteps_the_table_says_so(monkeypatch: pytest.MonkeyPatch):
    asked_of = []

    @contextmanager
    def here(make: Callable[..., Callable[[], None]], *args: object, **_: object) -> Iterator[Here]:
        asked_of.append((args[0], args[3]))
        yield Here(make(*args))

    monkeypatch.setattr(members, "find_spec", lambda _: None)
    monkeypatch.setattr(members, "apart", here)
    asked = Asked(threads=[1], pairs=2)
    rows = measure(asked, size=48, in_len=8, out_len=2, count=8)
    assert asked_of == [(OURS, 8), (LAGGED, 6)]
    assert [(row["ensemble"], row["members"], row["of_steps"]) for row in rows] == [
        (OURS, 8, None),
        (LAGGED, 6, None),
    ]
    assert all(len(row["seconds"]) == 2 for row in rows)
    table = members.BENCHMARK.table(
        [{"isa": "native", "instructions": "any"} | row for row in rows]
    )
    assert "STEPS is left out" in table and "| 8 |" in table


def test_members_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch):
    counts = []
    forecaster = type(members.ComovingEnsemble(2))
    monkeypatch.setattr(forecaster, "members", lambda *_, count, **__: counts.append(count))
    make(OURS, torch.rand(1, 5, 1, 48, 48), 2, 5)()
    assert counts == [5]
