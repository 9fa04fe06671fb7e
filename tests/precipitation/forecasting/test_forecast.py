"""What is forecast from given inputs, and what is said of it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.core.errors import ConfigError, RunError
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource, Inputs, newest
from nowcast.precipitation.forecasting.released.weights import located
from nowcast.precipitation.settings import PrecipitationSettings
from tests.tiny_runs import IN_LEN, OUT_LEN, write_run

FLOW = Choice("flow", PrecipitationSettings())


def frames(height: int = 20, width: int = 24, count: int = IN_LEN, level: int = 120) -> Inputs:
    """A wet square that moves right by a pixel each step; the last column has no data."""
    levels = np.zeros((count, height, width), dtype=np.uint8)
    for step in range(count):
        levels[step, 4:14, 2 + step : 12 + step] = level
    mask = np.ones(levels.shape, dtype=bool)
    mask[..., -1] = False
    times = np.datetime64("2020-01-01T12:00", "m") + 6 * np.arange(count)
    return Inputs(levels, mask, times, {}, {}, "frame", np.timedelta64(6, "m"))


def of(inputs: Inputs, step_minutes: int = 6) -> Description:
    height, width = inputs.levels.shape[1:]
    return Description("tiny", "the tests", step_minutes, height, width, 58.53, 1.56)


def test_a_run_forecasts_what_its_model_does_and_says_so(tmp_path: Path):
    choice, model = write_run(tmp_path / "run")
    inputs = frames()
    found = Forecaster(choice, of(inputs)).forecast(inputs, 0.25)
    with torch.inference_mode():
        levels = torch.from_numpy(inputs.levels)[None, :, None].float() / 255
        expected = model(levels)[0, :, 0].clamp(0, 1).numpy()
    assert found.pixels.std() > 0
    np.testing.assert_allclose(found.pixels, expected, atol=1e-6)
    assert (found.mask == inputs.mask[-1]).all()
    assert str(found.init) == "2020-01-01T12:18"
    assert [str(time)[11:] for time in found.times] == ["12:24", "12:30", "12:36"]
    facts = json.loads(json.dumps(dict(found.facts)))
    weights = tmp_path / "run" / "best.safetensors"
    assert facts["weights"] == str(weights)
    assert facts["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (facts["trained_in_len"], facts["trained_out_len"]) == (IN_LEN, OUT_LEN)
    assert (facts["lead_minutes"], facts["beyond_training"]) == (18, False)
    assert facts["padded_to"] is None and facts["notes"] == []
    assert facts["inputs"][0] == "2020-01-01T12:00" and facts["credit"] == "the tests"
    assert facts["seconds"]["read"] == 0.25 and {"load", "forecast"} <= facts["seconds"].keys()


@pytest.mark.parametrize("lagrangian", [False, True])
def test_any_frame_size_is_padded_and_cut_back(tmp_path: Path, lagrangian: bool):
    choice, _ = write_run(tmp_path / "run", lagrangian, crop=[0, 16, 0, 16])
    inputs = frames(21, 30)
    found = Forecaster(choice, of(inputs)).forecast(inputs)
    assert found.pixels.shape == (OUT_LEN, 21, 30)
    assert found.pixels.std() > 0
    assert found.facts["padded_to"] == (24, 32)
    assert found.facts["trained_crop"] == (0, 16, 0, 16)
    notes = " ".join(found.facts["notes"])
    assert "padded with dry pixels to 24x32" in notes and "trained on a crop" in notes


def test_a_longer_lead_goes_on_from_the_shorter_and_is_said(tmp_path: Path):
    choice, _ = write_run(tmp_path / "run")
    inputs = frames()
    short = Forecaster(choice, of(inputs)).forecast(inputs)
    long = Forecaster(choice, of(inputs), lead_minutes=31.0).forecast(inputs)
    assert len(long.pixels) == 6  # rounded up to a whole step
    np.testing.assert_allclose(long.pixels[:OUT_LEN], short.pixels, atol=1e-6)
    assert long.facts["beyond_training"] and long.facts["lead_minutes"] == 36
    assert "6 steps ahead is beyond the 3" in long.facts["notes"][0]


def test_another_step_than_the_one_of_training_is_said(synthetic: Path, tmp_path: Path):
    choice, _ = write_run(tmp_path / "run", root=str(synthetic))
    inputs = frames()
    found = Forecaster(choice, of(inputs, 5)).forecast(inputs)
    assert found.facts["trained_step_minutes"] == 6
    assert "6 minutes apart, these are 5" in found.facts["notes"][0]
    assert Forecaster(choice, of(inputs, 6)).notes == []
    elsewhere, _ = write_run(tmp_path / "elsewhere", root=str(tmp_path / "not here"))
    unknown = Forecaster(elsewhere, of(inputs))
    assert unknown.facts["trained_step_minutes"] is None
    assert "its archive" in unknown.notes[0] and "is not there" in unknown.notes[0]


@pytest.mark.parametrize(("step", "said"), [(5, False), (6, True), (15, True)])
def test_released_weights_say_that_the_step_is_not_that_of_training(step: int, said: bool):
    run = located("comoving-memel")
    settings = PrecipitationSettings.model_validate(run.config(), context={"evaluating": True})
    choice = Choice("comoving-memel", settings, run)
    forecaster = Forecaster(choice, Description("own", "the tests", step, 32, 48, 200.0, 1.6))
    assert forecaster.facts["trained_step_minutes"] == 5
    assert forecaster.facts["trained_steps_minutes"] == [2, 4, 5, 6, 8, 10, 15]
    steps = "5 minutes apart (some 2, 4, 6, 8, 10, 15)"
    note = f"comoving-memel was trained on frames {steps}, these are {step}"
    assert forecaster.notes == ([note] if said else [])


def test_other_pixels_than_those_of_training_are_said():
    run = located("comoving-memel")
    settings = PrecipitationSettings.model_validate(run.config(), context={"evaluating": True})
    grid = Grid("+proj=laea +lat_0=55", 0.0, 0.0, 500.0, 500.0)
    fine = Description("fine", "the tests", 5, 32, 48, 200.0, 1.6, grid=grid)
    choice = Choice("comoving-memel", settings, run)
    (note,) = Forecaster(choice, fine).notes
    assert note == "comoving-memel was trained on pixels of 1 to 4.4 km, these have 0.5"


def test_dry_input_gives_a_dry_forecast_without_the_model(tmp_path: Path):
    choice, _ = write_run(tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").write_bytes(b"no weights at all")
    wet = frames()
    dry = frames(level=43)  # 0.1 mm/h is level 44
    dry.levels[..., -1] = 200  # where there is no data
    found = Forecaster(choice, of(dry)).forecast(dry)
    assert found.pixels.shape == (OUT_LEN, 20, 24) and not found.pixels.any()
    assert found.facts["dry_input"] and "dry" in found.facts["notes"][-1]
    assert "load" not in found.facts["seconds"]
    for level in (44, 120):
        wet = frames(level=level)
        with pytest.raises(RunError, match="expected weights"):
            Forecaster(choice, of(wet)).forecast(wet)


def test_rain_in_an_early_frame_alone_is_not_dry():
    inputs = frames(count=10)
    inputs.levels[1:] = 0
    found = Forecaster(FLOW, of(inputs)).forecast(inputs)
    assert not found.facts["dry_input"]


def test_a_baseline_sees_the_frames_and_their_masks():
    inputs = frames(64, 64, 10)
    carried = replace(inputs, mask=inputs.mask.copy())
    carried.mask[4] = False
    found = Forecaster(FLOW, of(inputs), lead_minutes=24.0).forecast(carried)
    with torch.inference_mode():
        expected = Extrapolation(4)(
            torch.from_numpy(carried.levels)[None, :, None].float() / 255,
            torch.from_numpy(carried.mask)[None, :, None],
        )
    assert (found.pixels == expected[0, :, 0].numpy()).all()
    assert found.facts["weights"] is None and not found.facts["beyond_training"]


def test_a_forecast_that_is_no_number_is_refused(tmp_path: Path):
    choice, _ = write_run(tmp_path / "run")
    inputs = frames()
    made = Forecaster(choice, of(inputs))
    torch.nn.init.constant_(made.model.head.bias, float("nan"))
    with pytest.raises(RunError, match="expected a forecast in numbers"):
        made.forecast(inputs)


@pytest.mark.parametrize("lead", [0.0, -5.0, float("inf"), float("nan")])
def test_a_lead_that_is_none(lead: float):
    with pytest.raises(ConfigError, match="--lead: expected more than 0 minutes"):
        Forecaster(FLOW, of(frames()), lead)


def test_real_frames_end_to_end(synthetic: Path):
    source = FrameSource(Archive(synthetic), "frame")
    wettest = max(source.archive.moments[20::40], key=lambda at: int(source.read(at)[0].sum()))
    inputs = newest(source, 10, wettest)
    found = Forecaster(FLOW, source.description).forecast(inputs)
    assert found.init == wettest
    last = inputs.levels[-1] / 255
    assert np.corrcoef(found.pixels[0].ravel(), last.ravel())[0, 1] > 0.8
