"""Every baseline is found by its name, with its inflow after a colon."""

import warnings

import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.baselines import BASELINES, Setting, baseline
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation
from nowcast.precipitation.forecasters.persistence import Persistence
from nowcast.precipitation.forecasters.through_pysteps import ThroughPysteps

SETTING = Setting(3, Description("tiny", "made by the tests", 5, 8, 8, 200.0, 1.6))


def test_persistence_by_name():
    frames = torch.rand(1, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    model = baseline("persistence", SETTING)
    assert isinstance(model, Persistence)
    assert torch.equal(model(frames), frames[:, 1:].expand(-1, 3, -1, -1, -1))


@pytest.mark.parametrize(
    ("name", "method", "inflow"),
    [
        ("flow", "dis", "persist"),
        ("dis", "dis", "persist"),
        ("farneback", "farneback", "persist"),
        ("farneback:dry", "farneback", "dry"),
        ("flow:persist", "dis", "persist"),
    ],
)
def test_optical_flow_by_name(name: str, method: str, inflow: str):
    model = baseline(name, SETTING)
    assert isinstance(model, Extrapolation)
    assert (model.method, model.inflow, model.out_len) == (method, inflow, 3)


@pytest.mark.parametrize("method", ["extrapolation", "sprog", "anvil", "steps"])
def test_pysteps_by_name(method: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pysteps")
    for inflow in ("persist", "dry"):
        model = baseline(f"{method}:{inflow}", SETTING)
        assert isinstance(model, ThroughPysteps)
        assert (model.method, model.inflow, model.out_len) == (method, inflow, 3)
        assert model.calibration.zr_a == 200.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "naive",
            r"expected a baseline \(persistence, flow, dis, .*steps\) or the folder of a run, "
            "found 'naive'",
        ),
        ("flow:wet", r"expected flow:persist .* or flow:dry, found 'flow:wet'"),
        ("sprog:", r"or sprog:dry, found 'sprog:'"),
        ("persistence:dry", "persistence has no inflow"),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        baseline(name, SETTING)


def test_the_names_are_those_of_the_readme():
    assert (
        *("persistence", "flow", "dis", "farneback", "lagged-flow"),
        *("extrapolation", "sprog", "anvil", "steps"),
    ) == BASELINES
