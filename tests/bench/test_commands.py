"""The command line: what is measured by default, what is refused, and rows as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.bench import all as every
from scripts.bench.__main__ import app
from scripts.bench.benchmark import Asked, Row, in_turns, ratio

ROW: Row = {"yardstick": "a", "threads": 2, "in_c": True, "numba": [0.015], "nowcast": [0.003]}
ROW["ratio"] = [0.2, 0.1, 0.3]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the benchmark of scores was asked for."""
    found: list[Asked] = []

    def measure(asked: Asked) -> list[Row]:
        found.append(asked)
        return [ROW]

    scores = replace(every.BENCHMARKS["scores"], measure=measure)
    monkeypatch.setattr(every, "BENCHMARKS", {"scores": scores, "again": scores})
    return found


def test_rows_are_printed_and_written(asked: list[Asked], tmp_path: Path):
    arguments = ["all", "--json", str(tmp_path / "rows.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert asked == [Asked(batch=(16,), pairs=51)] * 2
    assert "| a | 2 | 15.0 ms | 3.00 ms | 0.200 (0.100 to 0.300) |\n\nnowcast" in result.stdout
    written = json.loads((tmp_path / "rows.json").read_text())
    assert set(written) == {"machine", "scores", "again"}
    assert written["scores"] == [ROW]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none", "found none"),
        ("all --threads 1", "all does not use threads"),
        ("start --batch 4", "not use batch"),
        ("memel --pairs 1", "pairs"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: str, message: str):
    result = CliRunner().invoke(app, arguments.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


def test_a_benchmark_of_one_number_of_threads_refuses_two():
    result = CliRunner().invoke(app, ["growth", "--threads", "1", "--threads", "2"])
    assert result.exit_code == 1
    assert "--threads: expected one value in this benchmark, found 1, 2" in result.output


def test_calls_take_turns_after_a_warm_up():
    calls: list[str] = []
    ticks = iter(range(100))
    ways = [lambda name=name: calls.append(name) or name for name in "ab"]
    seconds, results = in_turns(ways, 3, clock=lambda: float(next(ticks)))
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba"
    assert seconds == [(1.0, 1.0, 1.0)] * 2
    assert results == [["a"] * 4, ["b"] * 4]


def test_a_ratio_is_the_median_over_pairs_with_an_interval_around_it():
    middle, low, high = ratio((1.1, 2.0, 8.0, 1.2, 2.6), (1.0, 2.0, 4.0, 1.0, 2.0))
    assert middle == pytest.approx(1.2)
    assert 1.0 <= low <= middle <= high <= 2.0
    assert low < high
