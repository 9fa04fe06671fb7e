"""What a run says: its history is equal between runs, what differs goes to tensorboard alone."""

import os
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.monitoring.log import RunLog
from nowcast.core.monitoring.monitor import LOG10_PHI_EDGES, Reading
from nowcast.core.scoring.sums import Scores
from nowcast.core.storage.runs import Run
from tests.core.monitoring.reading import loaded, points, watching
from tests.core.monitoring.test_events import no_file_longer_than

PICTURE = np.zeros((2, 3, 3), dtype=np.uint8)
SCORES = Scores(
    values={"error": 2.0, "hits/5": None, "hits/10": 0.5},
    curves={"error": (1.0, 3.0), "hits/10": (None, 0.5)},
    along="lead_time",
    axis_name="minutes",
    axis=(5.0, 10.0),
)


def test_a_step_goes_to_both_and_timings_to_tensorboard_alone(tmp_path: Path):
    run = Run(tmp_path)
    log = RunLog(run, 0)
    log.step(1, {"loss": 0.5, "lr": 0.25}, {"samples_per_second": 8.0})
    log.step(2, {"loss": 0.25, "lr": 0.25})
    log.close()
    assert run.history() == [
        {"step": 1, "loss": 0.5, "lr": 0.25},
        {"step": 2, "loss": 0.25, "lr": 0.25},
    ]
    seen = loaded(tmp_path)
    assert seen.Tags()["scalars"] == ["train/loss", "train/lr", "throughput/samples_per_second"]
    assert [event.value for event in seen.Scalars("train/loss")] == [0.5, 0.25]
    assert [event.step for event in seen.Scalars("throughput/samples_per_second")] == [1]


def test_a_validation_gives_scores_curves_pictures_and_objective(tmp_path: Path):
    run = Run(tmp_path)
    log = RunLog(run, 0)
    log.validation(5, SCORES, {"a square": PICTURE}, {"objective": 2.5, "loss": None})
    log.validation(10, SCORES, {}, {"objective": float("inf"), "loss": None})
    log.close()
    assert run.history()[0] == {"step": 5, "valid": dict(SCORES.values)}
    seen = loaded(tmp_path)
    values = {tag: [e.value for e in seen.Scalars(tag)] for tag in seen.Tags()["scalars"]}
    assert values == {
        "valid/error": [2.0, 2.0],
        "valid/hits/10": [0.5, 0.5],
        "valid_by_minutes/error/5": [1.0, 1.0],
        "valid_by_minutes/error/10": [3.0, 3.0],
        "valid_by_minutes/hits/10/10": [0.5, 0.5],
        "valid/objective": [2.5],  # not where it is undefined
    }
    assert seen.Tags()["images"] == ["forecast/a square"]


def test_memel_readings_have_numbers_and_a_histogram_where_there_is_one(tmp_path: Path):
    counts = [0] * (len(LOG10_PHI_EDGES) - 1)
    empty = Reading({"pick_entropy": 0.5}, ())
    counts[3] = 7
    log = RunLog(Run(tmp_path), 0)
    log.memel(1, {"hidden": empty})
    log.memel(2, {"hidden": Reading({"mean_phi": 2.0}, tuple(counts))})
    log.close()
    seen = loaded(tmp_path)
    assert seen.Tags()["scalars"] == ["memel/hidden/pick_entropy", "memel/hidden/mean_phi"]
    (event,) = seen.Histograms("memel/hidden/log10_phi")
    assert (event.step, event.histogram_value.num) == (2, 7)
    assert event.histogram_value.sum == pytest.approx(
        7 * (LOG10_PHI_EDGES[3] + LOG10_PHI_EDGES[4]) / 2
    )


def test_a_resumed_log_drops_what_is_done_again_and_a_torn_line(tmp_path: Path):
    run = Run(tmp_path)
    log = RunLog(run, 0)
    for step in (5, 10, 15):
        log.step(step, {"loss": 1 / step})
    log.close()
    with run.history_file.open("a") as file:
        file.write('{"step": 20, "lo')
    log = RunLog(run, 10)
    log.step(15, {"loss": 9.0})
    log.close()
    assert [(entry["step"], entry["loss"]) for entry in run.history()] == [
        (5, 1 / 5),
        (10, 1 / 10),
        (15, 9.0),
    ]
    (curve,) = points(watching(tmp_path)).values()
    assert [step for step, _ in curve] == [5, 10, 15]


def test_other_ranks_write_nothing(tmp_path: Path):
    log = RunLog(Run(tmp_path), 0, shown=False)
    log.step(1, {"loss": 1.0}, {"samples_per_second": 1.0})
    log.memel(1, {})
    log.validation(1, SCORES, {"a": PICTURE}, {})
    log.flush()
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_flush_puts_history_and_events_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run(tmp_path)
    log = RunLog(run, 0)
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda number: synced.add(os.fstat(number).st_ino))
    log.step(1, {"loss": 1.0})
    log.flush()
    (events,) = tmp_path.glob("events.*")
    assert synced == {path.stat().st_ino for path in (events, run.history_file)}
    log.close()


def test_a_full_disk_is_told_and_the_history_before_it_stays(tmp_path: Path):
    run = Run(tmp_path)
    log = RunLog(run, 0)
    log.step(1, {"loss": 1.0})
    with no_file_longer_than(40), pytest.raises(OSError, match="large"):
        log.step(2, {"loss": 1.0})
    log.close()
    assert run.history() == [{"step": 1, "loss": 1.0}]
    with no_file_longer_than(5), pytest.raises(OSError, match="large"):
        RunLog(run, 1)
    assert run.history() == [{"step": 1, "loss": 1.0}]
