"""A comparison trains each variant once, in the order of its graph, and reports what it finds."""

import csv
import html
import itertools
import json
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import ValidationError
from scipy import stats
from torch import nn

from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.results import report
from nowcast.core.comparison.stored import read_results
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.execution.jobs import plan
from nowcast.core.settings import CompareSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted
from nowcast.core.terminal.displays import TextLines
from nowcast.core.terminal.progress import shown
from tests.core.toy import ToyBatch, ToyTask

VARIANTS = {
    "P-Original": {},
    "P-MEmeL": {"set": {"memel": {"late_start": 2}}},
    "T-MEmeL": {"start_from": "P-MEmeL", "set": {"optim": {"lr": 0.005}}},
}


def resolve(changes) -> RunSettings:
    train = TrainSettings(
        steps=10, batch_size=8, validate_every=5, log_every=5, seed=changes["train.seed"]
    )
    rest = {name: value for name, value in changes.items() if name != "train.seed"}
    return RunSettings(task="toy", train=train, **({"optim": OptimSettings(lr=0.02)} | rest))


def comparison(**changes) -> CompareSettings:
    content = {"seeds": [0, 1], "variants": VARIANTS, "baselines": ["identity"]} | changes
    return CompareSettings.model_validate(content)


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (0, "greater than 0"),
        (-0.5, "greater than 0"),
        (100, "less than 100"),
        ("0.5", "valid number"),
        (float("nan"), "finite number"),
        (True, "valid number"),
    ],
)
def test_an_equivalence_bound_is_a_share_in_per_cent(bound, said: str):
    with pytest.raises(ValidationError, match=rf"(?s)equivalence.*{said}"):
        comparison(equivalence=bound)
    assert comparison(equivalence=0.5).equivalence == 0.5
    assert comparison().equivalence is None


def test_parents_come_before_their_children_seed_by_seed(tmp_path: Path):
    baseline, *jobs = plan(comparison(), resolve, tmp_path)
    assert (baseline.variant, baseline.seed, baseline.trains) == ("identity", None, False)
    assert [(job.variant, job.seed) for job in jobs[:3]] == [
        ("P-Original", 0),
        ("P-MEmeL", 0),
        ("T-MEmeL", 0),
    ]
    assert jobs[5].settings.start_from == jobs[4].run.folder
    assert jobs[4].settings.train.seed == jobs[3].settings.train.seed == 1


def test_a_variant_cannot_start_from_one_below_it():
    with pytest.raises(ValidationError, match="expected a variant listed above it, found 'B'"):
        comparison(variants={"A": {"start_from": "B"}, "B": {}})


def test_everything_is_written_and_a_second_call_only_reports(tmp_path: Path):
    first = compare(comparison(), resolve, ToyTask, tmp_path, Ranks())
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pt")}
    assert len(runs) == 6
    # "identity" forecasts x where the truth is 2x: its error is the mean of x^2.
    assert first.rows[0].name == "identity"
    assert first.rows[0].mean("error") == pytest.approx(0.3519, abs=1e-3)
    made = (tmp_path / "scores.json").stat().st_mtime_ns
    again = compare(comparison(), resolve, ToyTask, tmp_path, Ranks())
    text = (tmp_path / "table.md").read_text()
    assert again.markdown() == first.markdown()
    assert text == f"{first.markdown()}\n{first.legend}.\n"
    assert (tmp_path / "scores.json").stat().st_mtime_ns == made
    (tmp_path / "films.json").unlink()  # as if it had been killed on the way
    compare(comparison(), resolve, ToyTask, tmp_path, Ranks())
    assert (tmp_path / "films.json").is_file()
    assert runs == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pt")}

    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["forecaster"], row["seed"]) for row in rows][:3] == [
        ("identity", ""),
        ("P-Original", "0"),
        ("P-Original", "1"),
    ]
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert {row["forecaster"] for row in stored["rows"]} == {"identity", *VARIANTS}
    assert stored["rows"][1]["samples"] == 37
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in VARIANTS)
    assert ">T-MEmeL</figcaption>" in page


def test_report_needs_neither_task_nor_data(tmp_path: Path):
    table = compare(comparison(), resolve, ToyTask, tmp_path, Ranks())
    for name in ("table.md", "table.csv", "report.html"):
        (tmp_path / name).unlink()
    assert report(tmp_path).markdown() == table.markdown()
    assert (tmp_path / "report.html").is_file()


def test_a_changed_config_does_not_reuse_an_old_run(tmp_path: Path):
    compare(comparison(variants={"A": {}}), resolve, ToyTask, tmp_path, Ranks())
    changed = comparison(variants={"A": {"set": {"optim": {"lr": 0.5}}}})
    with pytest.raises(ConfigError, match=r"optim.lr 0.02 there, 0.5 now"):
        compare(changed, resolve, ToyTask, tmp_path, Ranks())


def test_report_of_something_else_says_what_it_needs(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected scores.json of a comparison"):
        report(tmp_path)


def test_three_seeds_are_tested_in_pairs(tmp_path: Path):
    variants = {"P": {}, "T": {"start_from": "P"}}
    table = compare(
        comparison(seeds=[0, 1, 2], variants=variants), resolve, ToyTask, tmp_path, Ranks()
    )
    *baseline, found = csv.DictReader((tmp_path / "significance.csv").read_text().splitlines())
    errors = [[scores.values["error"] for scores in row.scores.values()] for row in table.rows[1:]]
    assert (found["one"], found["other"], found["seeds"]) == ("T", "P", "3")
    assert float(found["seeds_p"]) == pytest.approx(stats.ttest_rel(*errors).pvalue)
    blocks = len(ToyTask(RunSettings(task="toy")).block_names("test"))
    assert [int(pair["blocks"]) for pair in (*baseline, found)] == [blocks] * 3
    assert float(found["blocks_low"]) < float(found["difference"]) < float(found["blocks_high"])
    page = (tmp_path / "report.html").read_text()
    assert "T against P</h3>" in page and html.escape(found["in_words"]) in page


def test_side_by_side_gives_the_same_table(tmp_path: Path):
    one = compare(comparison(), resolve, ToyTask, tmp_path / "one", Ranks())
    said: list[str] = []
    with shown(TextLines(said.append, itertools.count(0.0, 30.0).__next__)):
        two = compare(comparison(), resolve, ToyTask, tmp_path / "two", Ranks(), parallel=2)
    assert [row.name for row in two.rows] == [row.name for row in one.rows]
    for first, second in zip(one.rows, two.rows, strict=True):
        assert second.samples("error") == pytest.approx(first.samples("error"), rel=1e-4)
    # The workers say which run they are at, and its step.
    for seed in (0, 1):
        assert any(re.match(rf"nowcast: .* seed {seed}: \d+ of \d+ steps", text) for text in said)


class FailingTask(ToyTask):
    def loss(self, model, batch):
        raise RunError("no such luck")


def test_a_failure_in_a_worker_comes_back_as_it_was(tmp_path: Path):
    with pytest.raises(RunError, match="no such luck"):
        compare(comparison(), resolve, FailingTask, tmp_path, Ranks(), parallel=2)


class FailsWithOneSeed(ToyTask):
    """One variant fails with one seed, another with all."""

    def loss(self, model, batch):
        train, lr = self.settings.train, self.settings.optim.lr
        if lr == 0.5 or (lr == 0.4 and train.seed == 1):
            raise RunError("no such luck")
        return super().loss(model, batch)


@pytest.mark.parametrize("parallel", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_complete_is_shown_and_what_is_missing_is_said(tmp_path: Path, parallel: int):
    variants = {
        "A": {},
        "B": {"set": {"optim": {"lr": 0.4}}},
        "C": {"set": {"optim": {"lr": 0.5}}},
        "D": {"start_from": "C"},
    }
    three = comparison(variants=variants, seeds=[0, 1, 2])
    with pytest.raises(
        RunError, match=r"(?s)B seed 1: no such luck.*not complete: 7 of 13"
    ) as told:
        compare(three, resolve, FailsWithOneSeed, tmp_path, Ranks(), parallel)
    assert "D seed 0" in str(told.value) and "The same command goes on." in str(told.value)
    stored = read_results(tmp_path)
    shown = {row.name: list(row.scores) for row in stored.table.rows}
    assert shown == {"identity": [None], "A": [0, 2], "B": [0, 2]}
    missing = "(B seed 1, C seed 0, D seed 0, C seed 1, D seed 1, C seed 2, D seed 2)"
    assert "; shown are seeds 0, 2" in stored.notes[0]
    assert all(name in stored.notes[0] for name in missing.strip("()").split(", "))
    assert stored.notes[0] in (tmp_path / "table.md").read_text()
    assert stored.notes[0] in html.unescape((tmp_path / "report.html").read_text())
    # The same as a comparison of what is there.
    two = comparison(variants={name: variants[name] for name in "AB"}, seeds=[0, 2])
    other = compare(two, resolve, ToyTask, tmp_path / "other", Ranks())
    assert [row.samples("error") for row in stored.table.rows] == [
        row.samples("error") for row in other.rows
    ]
    assert stored.differences == read_results(tmp_path / "other").differences
    compare(three, resolve, ToyTask, tmp_path, Ranks())
    whole = read_results(tmp_path)
    assert not whole.notes and "missing" not in whole.facts and len(whole.table.rows) == 5


def test_without_a_seed_in_common_there_is_no_table(tmp_path: Path):
    class Crossed(ToyTask):
        def loss(self, model, batch):
            if (self.settings.optim.lr == 0.4) == (self.settings.train.seed == 1):
                raise RunError("no such luck")
            return super().loss(model, batch)

    variants = {"A": {}, "B": {"set": {"optim": {"lr": 0.4}}}}
    with pytest.raises(RunError, match="No table: 2 of 5 runs and baselines are missing"):
        compare(comparison(variants=variants), resolve, Crossed, tmp_path, Ranks())
    assert not (tmp_path / "scores.json").exists()


class StopsItsParent(ToyTask):
    """Sends the comparison SIGTERM from inside a worker, once."""

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            marker = Path(os.environ["MARKER"])
            if number == 3 and not marker.exists():
                marker.touch()
                os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(0.2)
            yield batch


@pytest.mark.parametrize("parallel", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_signal_stops_all_workers_saved_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel: int
):
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="the same command goes on"):
        compare(comparison(), resolve, StopsItsParent, out, Ranks(), parallel=2)
    assert list((out / "runs").rglob("last.pt"))  # at least the one that was at work
    assert not (out / "scores.json").exists()
    found = compare(comparison(), resolve, ToyTask, out, Ranks(), parallel=parallel)
    straight = compare(comparison(), resolve, ToyTask, tmp_path / "straight", Ranks())
    for first, second in zip(found.rows, straight.rows, strict=True):
        assert first.samples("error") == pytest.approx(second.samples("error"), rel=1e-4)


class KillsItsParent(StopsItsParent):
    """Kills the comparison from inside a worker, once, and takes its time after that."""

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(ToyTask.training_batches(self, start, ranks), start=start):
            marker = Path(os.environ["MARKER"])
            if number == 3 and not marker.exists():
                marker.touch()
                os.kill(os.getppid(), signal.SIGKILL)
            if marker.exists():
                time.sleep(1)
            yield batch


def compare_with_a_killer(out: Path) -> None:
    compare(comparison(), resolve, KillsItsParent, out, Ranks(), parallel=2)


@pytest.mark.slow
def test_workers_of_a_killed_comparison_save_and_free_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    out = tmp_path / "out"
    command = multiprocessing.get_context("spawn").Process(
        target=compare_with_a_killer, args=(out,)
    )
    command.start()
    command.join()
    assert command.exitcode == -signal.SIGKILL
    run = out / "runs" / "P-Original" / "seed0"
    with FileLock(run / ".lock"), FileLock(out / "runs" / "P-MEmeL" / "seed0" / ".lock"):
        assert not (run / "result.json").exists()  # both workers have let go
    assert compare(comparison(), resolve, ToyTask, out, Ranks()) is not None


class WidthOfBatch(ToyTask):
    """A task whose model differs between the variants of a comparison."""

    def model(self) -> nn.Module:
        width = self.settings.train.batch_size
        return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))


def test_variants_may_differ_in_their_model_and_a_dropped_one_is_not_shown(tmp_path: Path):
    def resolve_width(changes) -> RunSettings:
        settings = resolve({name: value for name, value in changes.items() if name != "width"})
        width = {"batch_size": changes.get("width", 4)}
        return settings.model_copy(update={"train": settings.train.model_copy(update=width)})

    variants = {"Narrow": {}, "Wide": {"set": {"width": 16}}}
    both = comparison(variants=variants)
    table = compare(both, resolve_width, WidthOfBatch, tmp_path, Ranks())
    assert [row.name for row in table.rows] == ["identity", "Narrow", "Wide"]
    assert ">Narrow</figcaption>" in (tmp_path / "report.html").read_text()

    one = comparison(variants={"Wide": variants["Wide"]})
    compare(one, resolve_width, WidthOfBatch, tmp_path, Ranks())
    assert "Narrow" not in (tmp_path / "report.html").read_text()
    assert (tmp_path / "runs" / "Narrow" / "seed0" / "last.pt").is_file()
