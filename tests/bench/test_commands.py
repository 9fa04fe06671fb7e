"""The command line: what is measured by default, what is refused, and rows as JSON."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from nowcast.core.errors import ConfigError
from nowcast.core.training.precision import computes_bf16
from scripts.bench import all as every
from scripts.bench import apart as processes
from scripts.bench.__main__ import app
from scripts.bench.benchmark import Asked, Row, in_turns, no_note, ratio
from scripts.bench.instructions import ISAS, VARIABLES, chosen, in_use, processor

ROW: Row = {"yardstick": "a", "threads": 2, "in_c": True, "numba": [0.015], "nowcast": [0.003]}
ROW["ratio"] = [0.2, 0.1, 0.3]


HAS_AVX512 = torch.cpu._is_avx512_supported()


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests themselves may run as on a processor with AVX2."""
    for name in (*VARIABLES, "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is in this process."""

    @contextmanager
    def here(make: Callable[..., object], *args: object, **_: object) -> Iterator[object]:
        yield make(*args)

    monkeypatch.setattr(processes, "apart", here)


@pytest.fixture
def asked(here: None, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What two benchmarks were asked for, one of which uses torch's instructions."""
    found: list[Asked] = []

    def measure(asked: Asked) -> list[Row]:
        found.append(asked)
        return [ROW]

    scores = replace(every.BENCHMARKS["scores"], measure=measure)
    steps = replace(scores, uses=("precision", "isa"))
    monkeypatch.setattr(every, "BENCHMARKS", {"scores": scores, "steps": steps})
    return found


def watched(*_: object) -> Callable[[], list[Row]]:
    variables = [os.environ.get(name) for name in VARIABLES]
    return lambda: [{"used": in_use(), "variables": f"{variables}"}]


def test_rows_are_printed_and_written(asked: list[Asked], tmp_path: Path):
    arguments = ["all", "--json", str(tmp_path / "rows.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    precision = ("fp32", "bf16") if computes_bf16(torch.device("cpu")) else ["fp32"]
    isas = ["native", "avx2"] if HAS_AVX512 else ["native"]
    assert asked == [Asked(batch=(16,), pairs=51, precision=precision)] * (1 + len(isas))
    now = in_use()
    line = f"| native: {now} | a | 2 | 15.0 ms | 3.00 ms | 0.200 (0.100 to 0.300) |"
    assert f"{line}\n\nnowcast counts in C.\n\nOn {processor()}." in result.stdout
    written = json.loads((tmp_path / "rows.json").read_text())
    assert set(written) == {"machine", "scores", "steps"}
    assert written["machine"]["cpu"] == processor()
    assert written["scores"] == [{"isa": "native", "instructions": now} | ROW]
    assert [row["isa"] for row in written["steps"]] == isas


def test_what_is_given_is_asked_for_with_each_limit_once(asked: list[Asked]):
    limits = ["--isa", "avx2", "--isa", "native", "--isa", "avx2"]
    result = CliRunner().invoke(app, ["steps", *limits, "--precision", "bf16"])
    assert result.exit_code == 0, result.output
    assert [each.precision for each in asked] == [["bf16"]] * 2
    assert {type(each.precision[0]) for each in asked} == {str}  # whatever process takes it
    assert [line[:9] for line in result.stdout.splitlines()[4:6]] == ["| avx2: A", "| native:"]


@pytest.mark.skipif(not torch.cpu._is_avx2_supported(), reason="needs AVX2")
def test_a_measured_process_is_limited_from_its_beginning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(every, "measuring", watched)
    steps = replace(every.BENCHMARKS["scores"], uses=("isa",), cells=dict, note=no_note)
    monkeypatch.setattr(every, "BENCHMARKS", {"steps": steps})
    limit = "AVX512" if HAS_AVX512 else "AVX2"
    result = CliRunner().invoke(app, ["steps", "--isa", limit.lower()])
    assert result.exit_code == 0, result.output
    # No bf16, which is beyond both.
    assert f"| {limit} | {list(ISAS[limit.lower()].values())} |" in result.stdout


def test_instructions_that_the_processor_lacks_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    assert chosen(None) == ["native"]
    with pytest.raises(ConfigError, match=r"avx512: expected a processor with it, found .+"):
        chosen(["avx2", "avx512"])
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    assert chosen(None) == ["native", "avx2"]
    assert chosen(None, "cuda") == ["native"]


def test_an_environment_that_limits_torch_already_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    result = CliRunner().invoke(app, ["scores"])
    assert result.exit_code == 1
    assert "found ONEDNN_MAX_CPU_ISA=AVX2; unset it" in result.output


def test_the_processor_is_named_as_linux_has_it(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC\nmodel\t\t: 2\n")
    assert processor(tmp_path / "cpuinfo") == "AMD EPYC"
    assert processor(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none", "found none"),
        ("all --threads 1", "all does not use threads"),
        ("start --batch 4", "not use batch"),
        ("start --isa avx2", "not use isa"),
        ("training --isa avx", "avx"),
        ("memel --pairs 1", "pairs"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: str, message: str):
    result = CliRunner().invoke(app, arguments.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.usefixtures("here")
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
