"""A task that has only some of the four protocols works as far as they go, and no further."""

from pathlib import Path

import pytest
import torch

from nowcast.core.comparison.board import contest
from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.estimate import planned
from nowcast.core.errors import ConfigError
from nowcast.core.settings import CompareSettings, RunSettings, TuneSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.task import (
    Compared,
    Grouped,
    Pictured,
    Task,
    columns_of,
    compared,
    description_of,
    facts_of,
    grouped,
)
from nowcast.core.training.trainer import train, trained_model
from nowcast.core.tuning.search import Search
from nowcast.core.tuning.tune import run_search
from nowcast.glue.task import GlueTask
from nowcast.imagenet.task import ImagenetTask
from nowcast.precipitation.task import PrecipitationTask
from tests.core.comparison.test_compare import resolve as resolved_toy
from tests.core.toy import ComparedToy, PlainToy, ToyTask
from tests.core.training.test_trainer import settings

CPU = torch.device("cpu")


def resolve(changes: object) -> RunSettings:
    return settings()


def test_each_toy_is_what_its_name_says():
    plain, between, full = (kind(settings()) for kind in (PlainToy, ComparedToy, ToyTask))
    protocols = (Task, Compared, Pictured, Grouped)
    assert [isinstance(plain, each) for each in protocols] == [True, False, False, False]
    assert [isinstance(between, each) for each in protocols] == [True, True, False, False]
    assert all(isinstance(full, each) for each in protocols)


@pytest.mark.parametrize("task", [GlueTask, ImagenetTask, PrecipitationTask])
def test_tasks_have_the_methods_of_what_they_say_they_implement(task: type):
    protocols = [Compared, Grouped, *([Pictured] if task is PrecipitationTask else [])]
    for protocol in (Task, *protocols):
        methods = {name for name, value in vars(protocol).items() if callable(value)}
        assert not {name for name in methods if name[0] != "_" and not hasattr(task, name)}
    assert hasattr(task, "gallery") == (Pictured in protocols)


def test_a_plain_task_trains_is_scored_and_tuned(tmp_path: Path):
    task, run = PlainToy(settings()), Run(tmp_path / "run")
    train(task, settings(), run, Ranks())
    scores = evaluate(task, trained_model(task, settings(), run), "valid", Ranks(), CPU)
    error = min(row["valid"]["error"] for row in run.history() if "valid" in row)
    assert scores.values["error"] == pytest.approx(error)
    assert [column.header for column in columns_of(task)] == ["error"]
    assert facts_of(task, "valid") == {"samples": 37, "split": "valid"}
    assert description_of(task, "valid") == "37 samples, valid split"
    tune = TuneSettings(space={"optim.lr": (0.01,)}, seed=0)
    search = Search("toy", tune, {}, resolve, PlainToy, tmp_path / "tune")
    assert run_search(search, Ranks()).selected == {"optim.lr": 0.01}


def test_what_a_plain_task_lacks_is_named_before_anything_is_trained(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowcast audit: .* features, groups, which PlainToy"):
        grouped(PlainToy(settings()), "nowcast audit")
    with pytest.raises(ConfigError, match=r"Compared says what .* train, tune and evaluate"):
        compared(PlainToy(settings()), "--out")
    comparison = CompareSettings(seeds=(0,), variants={"A": {}})  # type: ignore[dict-item]
    out, runs = tmp_path / "out", tmp_path / "runs"
    for command in (
        lambda: compare(comparison, resolved_toy, PlainToy, out, Ranks(), runs=runs),
        lambda: planned(comparison, resolved_toy, PlainToy, out, runs),
    ):
        with pytest.raises(ConfigError, match="nowcast compare: expected a task with columns, det"):
            command()
        assert not list(tmp_path.rglob("*"))


@pytest.mark.usefixtures("few_resamples")
def test_without_pictures_there_are_pages_without_a_player(tmp_path: Path):
    comparison = CompareSettings(seeds=(0,), variants={"A": {}})  # type: ignore[dict-item]
    compare(comparison, resolved_toy, ComparedToy, tmp_path / "out", Ranks())
    assert "<script" not in (tmp_path / "out/report.html").read_text()
    task = ComparedToy(settings())
    board = contest({"toy": (task, task.model())}, "test", Ranks(), CPU, tmp_path / "board")
    assert list(board.scores) == ["identity", "toy"]
    assert "<img" not in (tmp_path / "board/leaderboard.html").read_text()
