"""The graph of a comparison: what shares a run, what has no row, what is left when some are."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.estimate import planned
from nowcast.core.errors import ConfigError
from nowcast.core.execution.jobs import plan
from nowcast.core.settings import RunSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from tests.core.comparison.test_compare import comparison, resolve
from tests.core.toy import ToyTask

MEMEL = {"memel": {"late_start": 2}}
GRAPH = {
    "Pretrained": {"scored": False},
    "Original": {"start_from": "Pretrained"},
    "MEmeL": {"start_from": "Pretrained", "set": MEMEL},
    "MEmeL-T": {"run_of": "MEmeL", "set": {"memel": {"late_start": 2, "in_eval": True}}},
}


def test_pretraining_is_done_once_and_has_no_row(tmp_path: Path):
    table = compare(comparison(variants=GRAPH), resolve, ToyTask, tmp_path, Ranks())
    assert table is not None
    assert [row.name for row in table.rows] == ["identity", "Original", "MEmeL", "MEmeL-T"]
    assert {path.parent.parent.name for path in tmp_path.rglob("last.pt")} == {
        "Pretrained",
        "Original",
        "MEmeL",
    }
    assert len(list(tmp_path.rglob("last.pt"))) == 6


def test_a_variant_may_score_the_runs_of_another_with_memel_in_evaluation(tmp_path: Path):
    table = compare(comparison(variants=GRAPH), resolve, ToyTask, tmp_path, Ranks())
    assert table is not None
    plain, tested = (row.scores[0].values["error"] for row in table.rows[2:])
    assert plain != tested
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert next(row["error"] for row in stored["rows"] if row["forecaster"] == "MEmeL-T") == tested


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"A": {}, "B": {"run_of": "C"}}, "expected a variant listed above it, found 'C'"),
        ({"A": {}, "B": {"run_of": "A", "start_from": "A"}}, "run_of trains nothing"),
        ({"A": {}, "B": {"run_of": "A"}, "C": {"run_of": "B"}}, "name that one"),
        ({"A": {"scored": False}}, "expected one that is scored"),
        ({"identity": {}}, r"expected other names than the variants', found \['identity'\]"),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(variants, message: str):
    with pytest.raises(ValidationError, match=message):
        comparison(variants=variants)


def test_what_acts_in_training_cannot_be_set_on_anothers_run(tmp_path: Path):
    variants = {"A": {"set": MEMEL}, "B": {"run_of": "A", "set": {"memel": {"late_start": 3}}}}
    with pytest.raises(ConfigError, match=r"memel\.in_eval alone; found memel\.late_start"):
        plan(comparison(variants=variants), resolve, tmp_path)


def test_a_baseline_is_scored_once_for_one_config(tmp_path: Path):
    class Counts(ToyTask):
        scored = 0

        def score(self, model, batch):
            Counts.scored += isinstance(model, torch.nn.Identity)
            return super().score(model, batch)

    one = comparison(variants={"A": {}}, seeds=[0])
    compare(one, resolve, Counts, tmp_path, Ranks())
    before = Counts.scored
    assert before > 0
    compare(one, resolve, Counts, tmp_path, Ranks())
    assert Counts.scored == before


def test_only_and_skip_keep_what_is_started_from_without_a_row(tmp_path: Path):
    whole = comparison(variants=GRAPH)
    assert list(whole.selected(["Original"], ()).variants) == ["Pretrained", "Original"]
    some = whole.selected(["MEmeL-T"], ())
    assert list(some.variants) == ["Pretrained", "MEmeL", "MEmeL-T"]
    assert [name for name, variant in some.variants.items() if variant.scored] == ["MEmeL-T"]
    assert list(whole.selected((), ["MEmeL", "MEmeL-T"]).variants) == ["Pretrained", "Original"]
    with pytest.raises(ConfigError, match="found Orignal"):
        whole.selected(["Orignal"], ())
    with pytest.raises(ConfigError, match="none is left"):
        whole.selected(["Pretrained"], ())
    table = compare(some, resolve, ToyTask, tmp_path, Ranks())
    assert table is not None
    assert [row.name for row in table.rows] == ["identity", "MEmeL-T"]
    again = compare(whole, resolve, ToyTask, tmp_path, Ranks())  # uses what is there
    assert again is not None
    assert again.rows[-1].scores[0] == table.rows[-1].scores[0]


def test_a_changed_archive_or_config_never_reuses_a_run(tmp_path: Path):
    class Changed(ToyTask):
        def data_hash(self) -> str:
            return "other toys"

    one = comparison(variants={"A": {}}, seeds=[0])
    compare(one, resolve, ToyTask, tmp_path, Ranks())
    with pytest.raises(ConfigError, match="other data"):
        compare(one, resolve, Changed, tmp_path, Ranks())
    other = comparison(variants={"A": {"set": MEMEL}}, seeds=[0])
    with pytest.raises(ConfigError, match="another config; differing: memel"):
        compare(other, resolve, ToyTask, tmp_path, Ranks())


def test_a_plan_tells_what_is_left_and_trains_nothing(tmp_path: Path):
    whole = comparison(variants=GRAPH)
    state = torch.get_rng_state()
    lines = planned(whole, resolve, ToyTask, tmp_path, tmp_path / "runs")
    assert torch.equal(state, torch.get_rng_state())
    assert not list(tmp_path.iterdir())
    assert [(line.variant, line.depth, line.runs, line.steps) for line in lines] == [
        ("identity", 0, 1, 0),
        ("Pretrained", 0, 2, 10),
        ("Original", 1, 2, 10),
        ("MEmeL", 1, 2, 10),
        ("MEmeL-T", 2, 2, 0),
    ]
    assert all(line.seconds > 0 and line.disk > 0 for line in lines[1:4])
    assert 0 < lines[4].disk < lines[3].disk / 4 and lines[4].seconds > 0  # scores alone
    compare(whole.selected(["Original"], ()), resolve, ToyTask, tmp_path, Ranks())
    after = {
        line.variant: line for line in planned(whole, resolve, ToyTask, tmp_path, tmp_path / "runs")
    }
    assert (after["Original"].complete, after["Original"].seconds) == (2, 0)
    assert (after["MEmeL"].complete, after["MEmeL"].steps) == (0, 10)
    searching = {
        "A": {"set": MEMEL, "tune": {"space": {"memel.top_k": [1, 2], "memel.delta": [1, 2, 3]}}}
    }
    search, line = planned(
        comparison(variants=searching, baselines=[]), resolve, ToyTask, tmp_path / "t", tmp_path
    )
    assert (search.kind, search.runs, search.complete) == ("search on valid, grid", 6, 0)
    assert search.seconds > line.seconds > 0
    assert Run(tmp_path / "runs" / "Original" / "seed1").is_finished


@pytest.mark.parametrize("keep_state", [True, False])
def test_a_plan_says_what_disk_its_runs_use(tmp_path: Path, keep_state: bool):
    def resolved(changes: Mapping[str, object]) -> RunSettings:
        settings = resolve(changes)
        more = {"steps": 40, "log_every": 3, "validate_every": 4, "keep_state": keep_state}
        return settings.model_copy(update={"train": settings.train.model_copy(update=more)})

    whole = comparison(variants=GRAPH, seeds=[0])
    lines = planned(whole, resolved, ToyTask, tmp_path, tmp_path / "runs")
    compare(whole, resolved, ToyTask, tmp_path, Ranks())
    for line in lines[1:]:
        sizes = {
            path: path.stat().st_size
            for path in (tmp_path / "runs" / line.variant).glob("seed*/*")
            if path.name not in ("config.yaml", "origin.json", "result.json")
        }
        assert line.disk == pytest.approx(sum(sizes.values()), rel=0.1)
    events = sum(path.stat().st_size for path in tmp_path.rglob("*tfevents*"))
    assert events > sum(line.disk for line in lines) / 4  # so that they were not left out
