"""Forecasts with members: who has them, what they are, what does not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.system.machine import available_bytes
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.flow.lagged import LaggedFlow
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import Inputs
from nowcast.precipitation.forecasting.probabilities import members as module
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, Calibration
from tests.precipitation.forecasting.test_forecast import frames, of

LAGGED = Choice("lagged-flow", PrecipitationSettings())


def inputs(level: int = 120) -> Inputs:
    return frames(count=10, level=level)


def test_the_members_are_the_forecasters_own_and_the_forecast_their_mean():
    found = Forecaster(LAGGED, of(inputs()), 30.0, members=4, seed=3).forecast(inputs())
    assert found.members is not None and found.members.seed == 3
    levels = torch.from_numpy(inputs().levels)[None, :, None].float() / 255
    mask = torch.from_numpy(inputs().mask)[None, :, None]
    model = LaggedFlow(5, Calibration(HKO7_ZR_A, HKO7_ZR_B))
    expected = model.members(levels, mask, count=4)
    np.testing.assert_allclose(found.members.pixels, expected[0, :, :, 0], atol=1e-6)
    np.testing.assert_allclose(
        found.pixels, model.single(expected, levels, mask)[0, :, 0], atol=1e-6
    )
    assert (found.facts["members"], found.facts["seed"]) == (4, 3)


def test_members_are_drawn_by_the_arithmetic_of_other_forecasts(monkeypatch: pytest.MonkeyPatch):
    seen, members = [], LaggedFlow.members

    def watched(*args: object, **options: object) -> object:
        seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.deterministic))
        return members(*args, **options)

    monkeypatch.setattr(LaggedFlow, "members", watched)
    Forecaster(LAGGED, of(inputs()), 30.0, members=4).forecast(inputs())
    assert seen[-1] == ("ieee", True)


def test_without_members_nothing_is_said_of_them():
    plain = Forecaster(LAGGED, of(inputs()), 30.0).forecast(inputs())
    assert plain.members is None and not {"members", "seed"} & plain.facts.keys()


def test_dry_frames_have_dry_members():
    dry = Forecaster(LAGGED, of(inputs()), 30.0, members=6).forecast(inputs(level=0))
    assert dry.members is not None and dry.members.pixels.shape == (6, 5, 20, 24)
    assert dry.members.pixels.max() == 0 and dry.facts["dry_input"]


def test_a_forecaster_without_members_says_which_have_them():
    flow = Choice("flow", PrecipitationSettings())
    with pytest.raises(ConfigError, match="found flow, which has one forecast; choose comoving"):
        Forecaster(flow, of(inputs()), members=6).load()


@pytest.mark.parametrize("level", [0, 120])
def test_a_count_that_cannot_be_had_is_told_before_it_rains(level: int):
    forecaster = Forecaster(LAGGED, of(inputs()), members=24)
    with pytest.raises(ConfigError, match="1 to 6 members"):
        forecaster.forecast(inputs(level))


def test_fewer_frames_for_a_while_end_no_watch():
    few = frames(count=4)
    with pytest.raises(RunError, match="1 to 3 members from 4 input frames"):
        Forecaster(LAGGED, of(few), members=6).forecast(few)


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (0, 0), (4, -1)])
def test_counts_and_seeds_that_are_none(count: int, seed: int):
    with pytest.raises(ConfigError, match=r"found (1|0|-1)"):
        Forecaster(LAGGED, of(inputs()), members=count, seed=seed)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch):
    large = Description("large", "nobody", 5, 4400, 3800, 200.0, 1.6)
    monkeypatch.setattr(module, "available_bytes", lambda: 16 * 2**30)
    with pytest.raises(ConfigError, match=r"24 members of 12 lead times of 4400x3800") as refused:
        Forecaster(LAGGED, large, 60.0, members=24)
    said = str(refused.value)
    assert "found 16.0 GiB free" in said and "a shorter --lead" in said
    fitting = int(said.partition("--members ")[2].partition(",")[0])
    assert 2 <= fitting < 24
    Forecaster(LAGGED, large, 60.0, members=fitting)
    note = Forecaster(LAGGED, large, 60.0, members=2).memory_note
    assert note is not None and "12 out of 2 members take about" in note
    monkeypatch.setattr(module, "available_bytes", lambda: None)  # not known: not refused
    Forecaster(LAGGED, large, 60.0, members=24)


def test_free_memory_is_within_the_containers(tmp_path: Path):
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal:  900 kB\nMemAvailable:    500 kB\nHugePages_Total:    0\n")
    assert available_bytes(meminfo, limit) == 500 * 1024
    limit.write_text("max\n")
    assert available_bytes(meminfo, limit) == 500 * 1024
    limit.write_text("4096\n")
    assert available_bytes(meminfo, limit) == 4096
    assert available_bytes(tmp_path / "absent", limit) is None
