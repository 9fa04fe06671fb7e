"""The benchmark's scores: contingency tables by hand, exact merging, and known answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast.core.distributed import Ranks
from nowcast.core.settings import TrainSettings
from nowcast.core.sums import Scores, Sums
from nowcast.precipitation.days import SPLITS
from nowcast.precipitation.settings import DataSettings, PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.scores import read_scores, score_frames

HKO7 = Calibration()
COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")


def pixels(rates_mm_h: list[float]) -> torch.Tensor:
    """One clip of one frame, one row, from rain rates."""
    return torch.from_numpy(HKO7.pixel_from_rate(rates_mm_h)).float().view(1, 1, 1, 1, -1)


def test_counts_and_errors_by_hand():
    truth = pixels([0.0, 1.0, 3.0, 12.0, 40.0, 40.0])
    prediction = pixels([0.0, 3.0, 1.0, 40.0, 12.0, 40.0])
    mask = torch.tensor([True, True, True, True, True, False]).view(1, 1, 1, 1, 6)
    sums = score_frames(prediction, truth, mask, HKO7)
    # Of the five valid pixels, (truth, prediction) at or above 0.5, 2, 5, 10, 30 mm/h.
    assert sums["hits"].tolist() == [[4], [2], [2], [2], [0]]
    assert sums["misses"].tolist() == [[0], [1], [0], [0], [1]]
    assert sums["false_alarms"].tolist() == [[0], [1], [0], [0], [1]]
    assert sums["correct_negatives"].tolist() == [[1], [1], [3], [3], [3]]
    assert sums["clips"] == 1
    tripled = 15.6 * np.log10(3) / 70
    heavier = 15.6 * np.log10(40 / 12) / 70
    b_mae = (1 + 2) * tripled + (10 + 30) * heavier
    b_mse = (1 + 2) * tripled**2 + (10 + 30) * heavier**2
    assert sums["b_mae"] == pytest.approx([b_mae], rel=1e-5)
    assert sums["b_mse"] == pytest.approx([b_mse], rel=1e-5)


def test_a_rate_at_the_threshold_is_an_event():
    at = pixels([0.5, 2.0, 5.0, 10.0, 30.0])
    sums = score_frames(at, at, torch.ones_like(at, dtype=torch.bool), HKO7)
    assert sums["hits"][:, 0].tolist() == [5, 4, 3, 2, 1]


def test_predictions_are_clipped_to_the_scale():
    truth = torch.tensor([0.9, 0.1]).view(1, 1, 1, 1, 2)
    mask = torch.ones_like(truth, dtype=torch.bool)
    beyond = score_frames(torch.tensor([7.0, -7.0]).view_as(truth), truth, mask, HKO7)
    assert beyond["b_mae"] == pytest.approx([30 * 0.1 + 0.1], rel=1e-5)
    assert beyond["b_mse"] == pytest.approx([30 * 0.01 + 0.01], rel=1e-5)


def table(hits: int, false_alarms: int, misses: int, correct_negatives: int) -> Sums:
    """The same table at every threshold, one lead time."""
    counts = {
        "hits": hits,
        "false_alarms": false_alarms,
        "misses": misses,
        "correct_negatives": correct_negatives,
    }
    return Sums(
        {name: np.full((5, 1), count, dtype=np.int64) for name, count in counts.items()}
        | {"clips": np.array(4), "b_mse": np.array([10.0]), "b_mae": np.array([30.0])}
    )


def test_scores_of_a_contingency_table_by_hand():
    # Finley's tornado forecasts (1884): the classic table.
    scores = read_scores(table(28, 72, 23, 2680), step_minutes=6)
    for threshold in THRESHOLD_NAMES:
        assert scores.values[f"csi/{threshold}"] == pytest.approx(28 / 123)
        assert scores.values[f"pod/{threshold}"] == pytest.approx(28 / 51)
        assert scores.values[f"far/{threshold}"] == pytest.approx(72 / 100)
        assert scores.values[f"hss/{threshold}"] == pytest.approx(0.3553, abs=1e-4)
    assert (scores.values["b_mse"], scores.values["b_mae"]) == (2.5, 7.5)
    assert (scores.axis_name, scores.axis) == ("minutes", (6.0,))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0, 0, 9), {"csi": None, "hss": None, "pod": None, "far": None}),
        ((0, 3, 0, 9), {"csi": 0.0, "hss": 0.0, "pod": None, "far": 1.0}),
        ((0, 0, 3, 9), {"csi": 0.0, "hss": 0.0, "pod": 0.0, "far": None}),
        ((3, 0, 0, 0), {"csi": 1.0, "hss": None, "pod": 1.0, "far": 0.0}),
        ((3, 0, 0, 9), {"csi": 1.0, "hss": 1.0, "pod": 1.0, "far": 0.0}),
        ((0, 0, 0, 0), {"csi": None, "hss": None, "pod": None, "far": None}),
    ],
)
def test_a_score_without_a_denominator_is_none(
    counts: tuple[int, int, int, int], expected: dict[str, float | None]
):
    scores = read_scores(table(*counts), step_minutes=6)
    assert {name: scores.values[f"{name}/10"] for name in expected} == expected
    assert {name: scores.curves[f"{name}/10"] for name in expected} == {
        name: (value,) for name, value in expected.items()
    }


def test_the_mean_over_lead_times_takes_the_defined_ones():
    first, second = table(1, 0, 3, 5), table(0, 0, 0, 9)
    third = table(3, 2, 0, 4)
    sums = Sums(
        {
            name: first[name]
            if name == "clips"
            else np.concatenate([part[name] for part in (first, second, third)], axis=-1)
            for name in first.values
        }
    )
    scores = read_scores(sums, step_minutes=5)
    assert scores.curves["csi/2"] == (0.25, None, 0.6)
    assert scores.values["csi/2"] == pytest.approx(0.425)
    assert scores.curves["far/2"] == (0.0, None, 0.4)
    assert scores.values["far/2"] == pytest.approx(0.2)
    assert scores.axis == (5.0, 10.0, 15.0)


def test_a_forecast_that_is_no_number_has_no_good_error():
    truth = torch.rand(1, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    prediction = truth.clone()
    prediction[0, 1] = torch.nan
    sums = score_frames(prediction, truth, torch.ones_like(truth, dtype=torch.bool), HKO7)
    b_mse = read_scores(sums, step_minutes=6).values["b_mse"]
    # The first lead time is perfect; that must not become the mean.
    assert b_mse is None or not np.isfinite(b_mse)


def drawn(seed: int, clips: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    prediction, truth = torch.rand(2, clips, 3, 1, 6, 5, generator=rng).unbind(0)
    return prediction, truth, torch.rand(truth.shape, generator=rng) < 0.6


@pytest.mark.parametrize("seed", range(5))
def test_random_fields_follow_the_definition(seed: int):
    prediction, truth, mask = (values.numpy() for values in drawn(seed, 4))
    sums = score_frames(*map(torch.from_numpy, (prediction, truth, mask)), HKO7)
    predicted_rate, true_rate = HKO7.rate_from_pixel(prediction), HKO7.rate_from_pixel(truth)
    weights = np.select([true_rate >= t for t in (30, 10, 5, 2, 0.5)], [30, 10, 5, 2, 1], 1)
    error = prediction.astype(float) - truth
    over = (0, 2, 3, 4)
    np.testing.assert_allclose(sums["b_mse"], (mask * weights * error**2).sum(over), rtol=1e-5)
    np.testing.assert_allclose(sums["b_mae"], (mask * weights * abs(error)).sum(over), rtol=1e-5)
    for row, threshold in enumerate((0.5, 2, 5, 10, 30)):
        forecast, observed = predicted_rate >= threshold, true_rate >= threshold
        assert sums["hits"][row].tolist() == (mask & forecast & observed).sum(over).tolist()
        assert sums["misses"][row].tolist() == (mask & ~forecast & observed).sum(over).tolist()
        assert (
            sums["false_alarms"][row].tolist() == (mask & forecast & ~observed).sum(over).tolist()
        )
        assert (
            sums["correct_negatives"][row].tolist()
            == (mask & ~forecast & ~observed).sum(over).tolist()
        )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_masked_pixels_never_change_a_score(seed: int):
    prediction, truth, mask = drawn(seed, 2)
    other_prediction, other_truth, _ = drawn(seed + 1, 2)
    sums = score_frames(prediction, truth, mask, HKO7)
    changed = score_frames(
        prediction.where(mask, other_prediction), truth.where(mask, other_truth), mask, HKO7
    )
    assert all(np.array_equal(sums[name], changed[name]) for name in sums.values)
    counted = sum(sums[name][0] for name in COUNTS)
    assert counted.tolist() == mask.sum((0, 2, 3, 4)).tolist()


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=st.integers(0, 2**16))
def test_any_batching_gives_the_same_sums(sizes: list[int], seed: int):
    whole = drawn(seed, sum(sizes))
    at_once = score_frames(*whole, HKO7)
    merged: Sums | None = None
    for parts in zip(*(values.split(sizes) for values in whole), strict=True):
        sums = score_frames(*parts, HKO7)
        merged = sums if merged is None else merged + sums
    assert merged is not None
    for name in (*COUNTS, "clips"):
        assert np.array_equal(merged[name], at_once[name])
    for name in ("b_mse", "b_mae"):
        np.testing.assert_allclose(merged[name], at_once[name], rtol=1e-9)


def persistence(root: Path, **data: object) -> tuple[Scores, int]:
    """Persistence over the three splits of an archive, and how many clips that was."""
    config = PrecipitationSettings(
        data=DataSettings(root=root, **data), train=TrainSettings(batch_size=1)
    )
    task = PrecipitationTask(config)
    model = task.baseline("persistence")
    sums: Sums | None = None
    for split in SPLITS:
        for batch in task.evaluation_batches(split, Ranks()):
            part = task.score(model, batch)
            sums = part if sums is None else sums + part
    assert sums is not None
    return task.read(sums), int(sums["clips"])


def test_known_answer_on_the_papers_crop(radar_dev: Path):
    scores, clips = persistence(radar_dev, crop="paper")
    assert clips == 30
    assert scores.values["b_mse"] == pytest.approx(946, abs=0.5)
    assert scores.values["b_mae"] == pytest.approx(2682, abs=0.5)
    assert scores.axis == tuple(float(minutes) for minutes in range(5, 55, 5))


def test_known_answer_on_whole_frames(radar_dev: Path):
    scores, clips = persistence(radar_dev)
    assert clips == 30
    assert scores.values["b_mse"] == pytest.approx(6433.8, abs=0.05)
    assert scores.values["b_mae"] == pytest.approx(19029.1, abs=0.05)
    csi = [scores.values[f"csi/{threshold}"] for threshold in THRESHOLD_NAMES]
    assert csi == pytest.approx([0.419, 0.254, 0.133, 0.083, 0.050], abs=5e-4)


@pytest.mark.slow
def test_known_answer_of_the_benchmarks_lengths(radar_dev: Path):
    scores, clips = persistence(radar_dev, in_len=5, out_len=20)
    assert clips == 26
    assert scores.values["b_mse"] == pytest.approx(8594, abs=0.5)
    assert scores.values["b_mae"] == pytest.approx(23617, abs=0.5)
