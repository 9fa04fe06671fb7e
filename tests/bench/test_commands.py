"""The benchmarks' commands: what they measure by default, and that rows are written as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.bench import everything, growth, latency, ranks, start, training
from scripts.bench.__main__ import app
from scripts.bench.growth import Growth, Work
from scripts.bench.latency import Latency
from scripts.bench.paired import Pairs
from scripts.bench.ranks import Speed
from scripts.bench.start import Start
from scripts.bench.training import Training

PAIRS = Pairs((1.0,) * 5, (2.0,) * 5)
WORKS = tuple(Work(batch=batch) for batch in (1, 2, 4))
ROWS: dict[str, tuple[Any, Any]] = {
    "latency": (latency, Latency("ConvGRU", "fp32", 2, 480, 5, 20, 9.0, PAIRS.one, None)),
    "ranks": (ranks, Speed(4, "fp32", PAIRS)),
    "start": (start, Start("nowcast --help", PAIRS, ())),
    "training": (
        training,
        Training(4, 1, "bf16", False, 9.0, PAIRS, (9.0,) * 5, 0.01, 5.0, 10.0),
    ),
    "growth": (growth, Growth("batch", "bf16", 2, WORKS, ((1.0,), (2.0,), (4.0,)))),
}


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        ("latency", [(2, 7, 480, 5, 20)]),
        ("latency --threads 1 --out-len 3", [(1, 7, 480, 5, 3)]),
        ("ranks", [((4, 16), ("fp32", "bf16"), 9, 120)]),
        ("ranks --batch 2 --precision bf16", [([2], ["bf16"], 9, 120)]),
        ("start --pairs 5", [(5,)]),
        ("training", [((4, 16), (1, 2), 5)]),
        ("training --batch 2 --threads 1 --turns 7", [([2], [1], 7)]),
        (
            "growth --side 30 --side 60",
            [(2, bf16, 5, growth.FRAMES, [30, 60], growth.BATCHES) for bf16 in (False, True)],
        ),
    ],
)
def test_a_command_prints_and_writes_what_it_measures(
    command: str, calls: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module, row = ROWS[command.split()[0]]
    seen: list[tuple[Any, ...]] = []

    def measure(*values: object) -> list[Any]:
        seen.append(values)
        return [row]

    monkeypatch.setattr(module, "measure", measure)
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(app, [*command.split(), "--json", str(file)])
    assert result.exit_code == 0, result.output
    assert seen == calls
    assert result.stdout == module.table([row] * len(calls)) + "\n"
    document = json.loads(json.dumps(row.document()))
    assert json.loads(file.read_text()) == [document] * len(calls)


def test_fewer_than_five_calls_are_refused():
    for name in ("latency --pairs 4", "ranks --pairs 4", "start --pairs 4", "growth --rounds 4"):
        assert CliRunner().invoke(app, name.split()).exit_code == 2


def test_all_prints_and_writes_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = {name: [row] for name, (_, row) in ROWS.items()}
    monkeypatch.setattr(
        everything,
        "BENCHMARKS",
        {
            name: lambda name=name: (rows[name], lambda found: f"a table of {len(found)}")
            for name in rows
        },
    )
    file = tmp_path / "all.json"
    result = CliRunner().invoke(app, ["all", "--json", str(file)])
    assert result.exit_code == 0, result.output
    written = json.loads(file.read_text())
    assert list(written) == ["machine", *rows]
    for name in rows:
        assert f"## {name}\n\na table of 1\n" in result.stdout
        assert written[name] == json.loads(json.dumps([rows[name][0].document()]))


def test_all_is_of_every_benchmark():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(everything.BENCHMARKS) == commands - {"all"}
