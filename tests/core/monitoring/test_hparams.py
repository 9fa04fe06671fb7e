"""The table of runs: what sets them apart, and what came out."""

import json
from pathlib import Path

import pytest
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS

from nowcast.core.monitoring.hparams import differing, results, table_head, table_row
from nowcast.core.scoring.sums import Scores
from nowcast.core.storage.runs import Run

BASE = {"task": "toy", "train": {"seed": 0, "workers": 0}, "memel": None, "sizes": [8, 8]}


def test_only_keys_that_differ_are_shown():
    other = BASE | {"train": {"seed": 1, "workers": 0}, "sizes": [8, 4]}
    assert differing({"a": BASE, "b": other}) == {
        "a": {"train.seed": 0.0, "sizes": "[8, 8]"},
        "b": {"train.seed": 1.0, "sizes": "[8, 4]"},
    }


def test_a_section_is_on_or_off_and_its_keys_count_among_those_that_have_it():
    weak, strong = ({"memel": {"delta": delta, "top_k": 1}} for delta in (0.5, 1))
    found = differing({"none": BASE, "weak": BASE | weak, "strong": BASE | strong})
    assert found == {
        "none": {"memel": "off"},
        "weak": {"memel": "on", "memel.delta": 0.5},
        "strong": {"memel": "on", "memel.delta": 1.0},
    }


def test_values_of_unlike_types_are_text():
    found = differing({"a": {"decay_every": 5000}, "b": {"decay_every": None}})
    assert found == {"a": {"decay_every": "5000"}, "b": {"decay_every": "off"}}


def test_a_single_run_shows_all_it_has():
    assert differing({"a": BASE}) == {
        "a": {
            "task": "toy",
            "train": "on",
            "train.seed": 0.0,
            "train.workers": 0.0,
            "memel": "off",
            "sizes": "[8, 8]",
        }
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that validated twice and was the best at the first."""
    run = Run(tmp_path)
    entries = [
        {"step": 5, "loss": 1.0},
        {"step": 5, "valid": {"error": 2.0, "hits/5": None}},
        {"step": 10, "valid": {"error": 3.0, "hits/5": 1.0}},
    ]
    run.history_file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return run


def test_a_run_that_goes_on_has_no_results_yet(run: Run):
    assert results(run) == {}


def test_results_are_scores_on_splits_and_those_of_the_best_step(run: Run):
    run.finish({"best_step": 5, "best_objective": 2.0})
    scores = Scores({"error": 4.0, "hits/5": 0.5, "hits/9": None}, {"error": (4.0,)}, "at", (1.0,))
    (run.folder / "scores_test.json").write_text(json.dumps(scores.document()))
    assert list(results(run).items()) == [
        ("test/error", 4.0),
        ("test/hits/5", 0.5),
        ("valid_best/error", 2.0),
        ("valid_best/objective", 2.0),
        ("valid_best/step", 5),
    ]


def test_the_head_names_keys_by_type_and_metrics_in_their_order():
    rows = [{"lr": 0.1, "memel": "on"}, {"lr": 0.2, "memel": "off"}, {"lr": 0.2}]
    (value,) = table_head(rows, ["test/error", "a"]).value
    head = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    assert [metric.name.tag for metric in head.metric_infos] == ["test/error", "a"]
    columns = {info.name: list(info.domain_discrete) for info in head.hparam_infos}
    assert columns == {"lr": [0.1, 0.2], "memel": ["off", "on"]}


def test_a_row_holds_the_values_and_whether_the_run_is_finished():
    begin, end = table_row("runs/a", {"lr": 0.5, "memel": "on"}, is_finished=True)
    content = begin.value[0].metadata.plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.group_name == "runs/a"
    assert start.hparams["lr"].number_value == 0.5
    assert start.hparams["memel"].string_value == "on"
    content = end.value[0].metadata.plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(content).status == STATUS_SUCCESS
    assert table_row("runs/a", {"lr": 0.5, "memel": "on"}, is_finished=False) == [begin]
