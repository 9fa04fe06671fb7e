"""An evaluation in parts scores every clip once, and its sums are those of the whole."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nowcast.api import evaluate as api
from nowcast.api import evaluate_parts
from nowcast.core.errors import ConfigError
from nowcast.core.execution.executor import Outcome, Place, Work, outcome_of
from nowcast.core.system.distributed import Ranks

SHORT = {"data.in_len": 3, "data.out_len": 3, "data.stride": 12}


class Here:
    """An executor that does work at once, in this process."""

    room = 2

    def __init__(self) -> None:
        self.done: list[tuple[int, Outcome]] = []

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, key: int, work: Work) -> None:
        self.done.append((key, outcome_of(work, Place(Ranks()))))

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        found, self.done = self.done[::-1], []
        return found


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "executor_of", lambda cluster, jobs, folder: Here() if jobs else None)


@pytest.mark.usefixtures("here")
def test_the_scores_of_one_forecaster(synthetic: Path):
    whole = api.evaluate("persistence", synthetic, overrides=SHORT)
    for jobs in (2, 5):
        parts = api.evaluate("persistence", synthetic, jobs=jobs, overrides=SHORT)
        assert parts.facts == whole.facts
        for name, value in whole.scores["persistence"].values.items():
            assert parts.score(name) == pytest.approx(value, rel=1e-12)


@pytest.mark.usefixtures("here", "few_resamples")
def test_the_board_of_several(synthetic: Path, tmp_path: Path):
    flow = ["flow"]
    few = {**SHORT, "data.stride": 20}
    whole = api.evaluate(flow, synthetic, out=tmp_path / "whole", overrides=few)
    parts = api.evaluate(flow, synthetic, out=tmp_path / "parts", jobs=2, overrides=few)
    assert list(parts.scores) == list(whole.scores) == ["persistence", "flow"]
    for name, scores in whole.scores.items():
        assert parts.scores[name].values == pytest.approx(scores.values, rel=1e-9, nan_ok=True)
    assert (tmp_path / "parts" / "leaderboard.html").is_file()


def test_no_more_parts_than_clips(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(
        evaluate_parts,
        "carry_out",
        lambda works, *_: asked.append(len(works)) or [evaluate_parts.Found({}, {})] * len(works),
    )
    for samples, parts in ((37, 4), (3, 4)):
        evaluate_parts.in_parts(dict, "test", samples, False, Here(), parts)
    assert asked == [4, 3]


def test_what_excludes_parts_is_told(synthetic: Path):
    with pytest.raises(ConfigError, match="--online: its clips follow one another"):
        api.evaluate("persistence", synthetic, online=True, jobs=2)


@pytest.mark.slow
@pytest.mark.usefixtures("few_resamples")
def test_processes_and_batch_jobs_score_alike_to_the_bit(synthetic: Path, tmp_path: Path):
    pytest.importorskip("submitit", reason="needs memel-nowcast[cluster]")
    spec = tmp_path / "local.yaml"
    spec.write_text(
        "engine: submitit\nwhere: local\nthreads: 1\ngpus: 0\noptions: {timeout_min: 30}\n"
    )
    found = [
        api.evaluate(
            ["flow"], synthetic, out=tmp_path / name, jobs=2, cluster=cluster, overrides=SHORT
        )
        for name, cluster in (("processes", None), ("jobs", str(spec)))
    ]
    assert {name: scores.values for name, scores in found[0].scores.items()} == {
        name: scores.values for name, scores in found[1].scores.items()
    }
