"""The benchmark's scores: contingency tables by hand, exact merging, and known answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nowcast_bench.metrics import categorical_scores
from scores.categorical import BinaryContingencyManager
from xarray import DataArray

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.settings import TrainSettings
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.settings import DataSettings, PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification import tally
from nowcast.precipitation.verification.scores import COUNTS, read_scores, score_frames
from tests.rain_fields import rain, verification_of_pysteps

pytestmark = pytest.mark.isa

HKO7 = Calibration()
ERRORS = ("b_mse", "b_mae", "mse", "mae")


@pytest.fixture(autouse=True, params=["in C", "in torch operations"], scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways in which pixels are counted."""
    if request.param == "in C" and not tally.available:
        pytest.skip("_tally is not built: there was no C compiler at installation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "available", request.param == "in C")
        yield


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
    assert sums["mae"] == pytest.approx([2 * tripled + 2 * heavier], rel=1e-5)
    assert sums["mse"] == pytest.approx([2 * tripled**2 + 2 * heavier**2], rel=1e-5)
    assert sums["pixels"].tolist() == [5]
    scores = read_scores(sums, step_minutes=6)
    assert scores.values["mae"] == pytest.approx((2 * tripled + 2 * heavier) / 5, rel=1e-5)


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
        | {
            "clips": np.array(4),
            "pixels": np.array([hits + false_alarms + misses + correct_negatives]),
            "b_mse": np.array([10.0]),
            "b_mae": np.array([30.0]),
            "mse": np.array([3.0]),
            "mae": np.array([5.0]),
        }
    )


def test_scores_of_a_contingency_table_by_hand():
    # Finley's tornado forecasts (1884): the classic table.
    scores = read_scores(table(28, 72, 23, 2680), step_minutes=6)
    for threshold in THRESHOLD_NAMES:
        assert scores.values[f"csi/{threshold}"] == pytest.approx(28 / 123)
        assert scores.values[f"pod/{threshold}"] == pytest.approx(28 / 51)
        assert scores.values[f"far/{threshold}"] == pytest.approx(72 / 100)
        assert scores.values[f"hss/{threshold}"] == pytest.approx(0.3553, abs=1e-4)
        assert scores.values[f"gss/{threshold}"] == pytest.approx(0.2160, abs=1e-4)
        assert scores.values[f"bias/{threshold}"] == pytest.approx(100 / 51)
        assert scores.support[f"hits/{threshold}"] == 28
    assert (scores.values["b_mse"], scores.values["b_mae"]) == (2.5, 7.5)
    assert (scores.values["mse"], scores.values["mae"]) == (3 / 2803, 5 / 2803)
    assert (scores.axis_name, scores.axis) == ("minutes", (6.0,))
    assert (scores.support["clips"], scores.support["pixels"]) == (4, 2803)
    assert scores.why == {}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0, 0, 9), dict.fromkeys(("csi", "hss", "gss", "pod", "far", "bias"))),
        ((0, 3, 0, 9), {"csi": 0, "hss": 0, "gss": 0, "pod": None, "far": 1, "bias": None}),
        ((0, 0, 3, 9), {"csi": 0, "hss": 0, "gss": 0, "pod": 0, "far": None, "bias": 0}),
        ((3, 0, 0, 0), {"csi": 1, "hss": None, "gss": None, "pod": 1, "far": 0, "bias": 1}),
        ((3, 0, 0, 9), {"csi": 1, "hss": 1, "gss": 1, "pod": 1, "far": 0, "bias": 1}),
        ((0, 0, 0, 0), dict.fromkeys(("csi", "hss", "gss", "pod", "far", "bias"))),
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
    assert {name for name in expected if f"{name}/10" in scores.why} == {
        name for name, value in expected.items() if value is None
    }


@pytest.mark.parametrize(
    ("counts", "name", "reason"),
    [
        ((0, 0, 0, 9), "csi/30", "no event ≥ 30 mm/h in truth or forecast"),
        ((0, 3, 0, 9), "pod/0.5", "no event ≥ 0.5 mm/h in truth"),
        ((0, 0, 3, 9), "far/2", "no event ≥ 2 mm/h in forecast"),
        ((3, 0, 0, 0), "gss/2", "every pixel is an event ≥ 2 mm/h in truth and forecast"),
        ((0, 0, 0, 0), "bias/2", "no valid pixel"),
    ],
)
def test_what_is_undefined_has_its_reason(
    counts: tuple[int, int, int, int], name: str, reason: str
):
    assert read_scores(table(*counts), step_minutes=6).why[name] == reason


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
    assert scores.why["csi/2"] == "no event ≥ 2 mm/h in truth or forecast at 10 min"
    assert scores.support_curves["hits/2"] == (1, 0, 3)


def test_a_forecast_that_is_no_number_has_no_good_error():
    truth = torch.rand(1, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    prediction = truth.clone()
    prediction[0, 1] = torch.nan
    sums = score_frames(prediction, truth, torch.ones_like(truth, dtype=torch.bool), HKO7)
    scores = read_scores(sums, step_minutes=6)
    for name in ERRORS:
        # The first lead time is perfect; that must not become the mean.
        assert scores.values[name] is None
        assert scores.curves[name] == (0.0, None)
        assert scores.why[name] == "the forecast is not a number at 12 min"
    # It warns of nothing: what happened was missed.
    assert sums["hits"][:, 1].tolist() == sums["false_alarms"][:, 1].tolist() == [0] * 5
    assert (sums["misses"] + sums["correct_negatives"])[:, 1].tolist() == [16] * 5


def test_a_lead_time_without_a_valid_pixel_is_left_out_of_the_mean():
    truth = torch.full((1, 2, 1, 1, 2), 0.5)
    mask = torch.tensor([True, True, False, False]).view_as(truth)
    scores = read_scores(score_frames(truth + 0.25, truth, mask, HKO7), step_minutes=5)
    assert scores.curves["mae"] == (0.25, None)
    assert scores.values["mae"] == 0.25
    assert scores.why["mae"] == "no valid pixel at 10 min"
    assert scores.support_curves["pixels"] == (2, 0)


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


def balanced_errors_by_definition(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray
) -> tuple[float, float]:
    """B-MSE and B-MAE as Shi et al. 2017 define them, pixel by pixel."""
    b_mse = b_mae = 0.0
    for p, t, valid in zip(prediction.flat, truth.flat, mask.flat, strict=True):
        rate = 10 ** ((70 * float(t) - 10 - 10 * np.log10(58.53)) / 15.6)
        weight = 1 if rate < 2 else 2 if rate < 5 else 5 if rate < 10 else 10 if rate < 30 else 30
        if valid:
            b_mse += weight * (float(p) - float(t)) ** 2
            b_mae += weight * abs(float(p) - float(t))
    return b_mse / len(truth), b_mae / len(truth)


def test_balanced_errors_against_a_transcription_of_the_definition():
    frames = rain(0, clips=2, leads=1, masked=0.2)
    scores = read_scores(score_frames(*frames, HKO7), step_minutes=6)
    b_mse, b_mae = balanced_errors_by_definition(*(values.numpy() for values in frames))
    assert scores.values["b_mse"] == pytest.approx(b_mse, rel=1e-6)
    assert scores.values["b_mae"] == pytest.approx(b_mae, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_event_scores_against_three_other_libraries(seed: int):
    pysteps = verification_of_pysteps("verification.detcatscores")
    prediction, truth, mask = rain(seed, clips=1, leads=1, masked=0.2)
    ours = read_scores(score_frames(prediction, truth, mask, HKO7), step_minutes=6).values
    nan = torch.nan
    forecast, observed = (
        HKO7.rate_from_pixel(pixel.where(mask, nan)[0, 0, 0].double().numpy())
        for pixel in (prediction, truth)
    )
    # rate_from_pixel reads NaN as dry: put it back.
    forecast[~mask[0, 0, 0].numpy()] = observed[~mask[0, 0, 0].numpy()] = np.nan
    for name in THRESHOLD_NAMES:
        mm_h = float(name)
        events = DataArray(np.where(np.isnan(forecast), np.nan, forecast >= mm_h))
        happened = DataArray(np.where(np.isnan(observed), np.nan, observed >= mm_h))
        table = BinaryContingencyManager(events, happened)
        theirs = {
            "csi": table.critical_success_index(),
            "hss": table.heidke_skill_score(),
            "gss": table.gilberts_skill_score(),
            "pod": table.probability_of_detection(),
            "far": table.false_alarm_ratio(),
            "bias": table.frequency_bias(),
        }
        valid = ~np.isnan(forecast)  # pysteps takes NaN for correct negatives
        of_pysteps = pysteps.det_cat_fct(
            forecast[valid], observed[valid], mm_h, [score.upper() for score in theirs]
        )
        of_bench = categorical_scores(observed, forecast, mm_h)
        for score, value in theirs.items():
            found = ours[f"{score}/{name}"]
            assert found == pytest.approx(float(value), rel=1e-12)
            assert found == pytest.approx(of_pysteps[score.upper()], rel=1e-9)
            if score != "hss":  # which nowcast-bench does not have
                key = "ETS" if score == "gss" else score.upper()
                assert found == pytest.approx(of_bench[key].value, rel=1e-12)


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
    lost = score_frames(prediction.where(mask, torch.nan), truth, mask, HKO7)
    assert all(np.array_equal(sums[name], lost[name]) for name in sums.values)
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
    for name in (*COUNTS, "clips", "pixels"):
        assert np.array_equal(merged[name], at_once[name])
    for name in ERRORS:
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
