"""Thresholds matched on some clips and tried on others, and files that they cannot come from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve
from nowcast.precipitation.verification.fitted import fitted_curves, read_thresholds
from nowcast.precipitation.verification.matched import level_sums, matched_curves
from tests.rain_fields import Frames, rain

HKO7 = Calibration()
SIZE = {"clips": 3, "leads": 2, "height": 60, "width": 60}
FACTS = {"clips_hash": "test", "step_minutes": 6, "out_len": 2}


def sums_of(frames: Frames) -> Sums:
    pixels = frames[2].sum((0, 2, 3, 4)).numpy()
    return Sums({**level_sums(*frames, HKO7).values, "pixels": pixels})


def matched(sums: Sums) -> dict[str, tuple[float | None, ...]]:
    found = matched_curves(sums, HKO7)
    return {name: found[f"matched_threshold/{name}"].points() for name in THRESHOLD_NAMES}


def fitted(frames: Frames, rates: float | tuple[float | None, ...]) -> dict[str, Curve]:
    own = rates if isinstance(rates, tuple) else (rates,) * frames[1].shape[1]
    return fitted_curves(sums_of(frames), HKO7, dict.fromkeys(THRESHOLD_NAMES, own))


def test_on_the_clips_it_was_matched_on_it_is_the_matched_one_without_bias():
    prediction, truth, mask = rain(1, **SIZE, masked=0.1)
    sums = sums_of((0.7 * prediction, truth, mask))
    found, expected = fitted_curves(sums, HKO7, matched(sums)), matched_curves(sums, HKO7)
    for name in THRESHOLD_NAMES:
        csi = expected[f"csi_matched/{name}"].values
        np.testing.assert_allclose(found[f"csi_fitted/{name}"].values, csi, rtol=1e-9)
        np.testing.assert_allclose(found[f"bias_fitted/{name}"].values, 1, rtol=1e-9)


def test_on_other_clips_it_counts_the_pixels_above_the_threshold():
    prediction, truth, mask = rain(2, **SIZE, masked=0.1)
    prediction = (prediction * 180).round() / 255  # on 8-bit levels, so that counts are whole
    own = (100.5 / 255, 140.5 / 255)
    rates = tuple(map(float, HKO7.rate_from_pixel(own)))
    found = fitted((prediction, truth, mask), rates)
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        for lead in range(2):
            valid = mask[:, lead]
            event, warned = (
                (truth[:, lead] >= threshold)[valid],
                (prediction[:, lead] > own[lead])[valid],
            )
            csi = ((event & warned).sum() / (event | warned).sum()).item()
            assert found[f"csi_fitted/{name}"].values[lead] == pytest.approx(csi, rel=1e-6)
            bias = (warned.sum() / event.sum()).item()
            assert found[f"bias_fitted/{name}"].values[lead] == pytest.approx(bias, rel=1e-6)


def test_a_stronger_forecast_exceeds_its_threshold_too_often():
    one, other = (rain(seed, **SIZE) for seed in (3, 4))
    stronger = (1.2 * other[0], *other[1:])
    found = fitted_curves(sums_of(stronger), HKO7, matched(sums_of(one)))
    for name in THRESHOLD_NAMES:
        assert (found[f"bias_fitted/{name}"].values > 1).all()


def test_no_threshold_makes_a_dry_pixel_wet_and_one_beyond_the_scale_warns_of_nothing():
    truth = torch.tensor([0.9, 0.9, 0.0, 0.0]).expand(1, 1, 1, 1, 4)
    prediction = torch.tensor([0.3, 0.0, 0.0, 0.0]).expand_as(truth)
    frames = prediction, truth, torch.ones_like(truth, dtype=torch.bool)
    assert fitted(frames, 0.0)["csi_fitted/30"].points() == (0.5,)
    assert fitted(frames, 1e9)["csi_fitted/30"].points() == (0.0,)
    assert fitted(frames, 1e9)["bias_fitted/30"].points() == (0.0,)


def test_what_is_undefined_has_its_reason():
    truth = torch.zeros(1, 4, 1, 4, 4)
    prediction, mask = truth.clone(), torch.ones_like(truth, dtype=torch.bool)
    prediction[0, 1, 0, 0, 0] = torch.nan
    mask[:, 2] = False
    found = fitted((prediction, truth, mask), (5.0, 5.0, 5.0, None))
    unfitted = "no threshold: on the other clips no event ≥ 5 mm/h, or no rain"
    for score, where in (("csi_fitted/5", "truth or forecast"), ("bias_fitted/5", "truth")):
        dry = f"no event ≥ 5 mm/h in {where}"
        assert found[score].points() == (None, None, None, None)
        assert found[score].reasons == [dry, NO_NUMBER, NO_PIXEL, unfitted]


def rows(**changes: Any) -> list[dict[str, Any]]:
    curves = {f"matched_threshold/{name}": (float(name), None) for name in THRESHOLD_NAMES}
    scores = Scores({}, curves, along="lead_time", axis_name="minutes", axis=(6.0, 12.0))
    row = {"forecaster": "flow", "clips_hash": "valid", **scores.document()}
    return [row | changes]


def test_thresholds_come_from_a_leaderboard(tmp_path: Path):
    file = tmp_path / "leaderboard.json"
    file.write_text(json.dumps(rows()))
    assert read_thresholds(file, ["flow"], FACTS)["flow"]["10"] == [10.0, None]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: rows(clips_hash="test"), "expected thresholds from other clips"),
        (lambda: rows(forecaster="sprog"), "expected thresholds of flow, found those of sprog"),
        (lambda: rows(by_lead_time={"minutes": [6.0]}), "found something else"),
        (lambda: {"forecaster": "flow"}, "expected the leaderboard.json"),
        (lambda: [1], "expected the leaderboard.json"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, made: Callable[[], Any], message: str):
    file = tmp_path / "leaderboard.json"
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        read_thresholds(file, ["flow"], FACTS)
    file.write_text(json.dumps(made()))
    with pytest.raises(ConfigError, match=message):
        read_thresholds(file, ["flow"], FACTS)


def test_other_lead_times_are_refused(tmp_path: Path):
    file = tmp_path / "leaderboard.json"
    file.write_text(json.dumps(rows()))
    with pytest.raises(
        ConfigError, match=r"expected lead times of \[5, 10\] minutes, found \[6.0, 12.0\]"
    ):
        read_thresholds(file, ["flow"], {**FACTS, "step_minutes": 5})
