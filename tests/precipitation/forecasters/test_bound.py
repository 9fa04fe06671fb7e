"""No weights and no input make more rain than the input allows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nowcast.precipitation.forecasters.bound import (
    CELL_PX,
    HEADROOM_DB,
    TOTAL,
    ceiling,
    near_cells,
    within_total,
)
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.comoving.network import Widths
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecaster, Stage
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation
from nowcast.precipitation.forecasters.lagrangian import Lagrangian
from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.units import DBZ_SPAN, DWD_ZR_A, DWD_ZR_B, Calibration

SMALL = Widths(stem=3, hidden=(4, 5), guide=4, head=6)
HEADROOM = HEADROOM_DB / DBZ_SPAN
LEADS = 6


def showers(height: int = 48, width: int = 64, frames: int = 5, speed: float = 3.0) -> Tensor:
    """Two cells of constant strength that leave downwards."""
    rows, columns = np.mgrid[:height, :width]
    found = []
    for time in range(frames):
        cells = [(6 + speed * time, 20, 4.0, 0.7), (26 + speed * time, 40, 6.0, 0.5)]
        rain = [
            peak * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * side**2))
            for row, column, side, peak in cells
        ]
        found.append(np.maximum.reduce(rain))
    levels = np.round(255 * np.stack(found)) / 255
    return torch.from_numpy(np.where(levels < 0.17, 0, levels)).float()[None, :, None]


def wild(seed: int, scale: float, calibration: Calibration | None = None) -> Comoving:
    """Weights that no training would leave."""
    torch.manual_seed(seed)
    made = Comoving(LEADS, calibration, SMALL).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.add_(scale * torch.randn_like(weight))
    return made


def mean_rate(pixels: Tensor, calibration: Calibration) -> np.ndarray:
    rates = calibration.rate_from_pixel(pixels.clamp(min=0).numpy())
    return np.asarray(np.where(rates < 0.1, 0, rates).mean(axis=(-2, -1)))


def outages(frames: Tensor) -> dict[str, Tensor]:
    """Input as an outage leaves it, said to be data."""
    first, newest, half = frames.clone(), frames.clone(), frames.clone()
    first[:, :-1] = 0
    newest[:, -2] = 0
    half[:, -2, :, :24] = 0
    return {"one wet": first, "dry before the newest": newest, "half dry": half}


@pytest.mark.parametrize("relation", [(58.53, 1.56), (DWD_ZR_A, DWD_ZR_B), (316.0, 1.5)])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_no_weights_forecast_more_than_the_input_allows(
    relation: tuple[float, float], scale: float
):
    calibration = Calibration(*relation)
    for seed in range(2):
        made = wild(seed, scale, calibration)
        for name, frames in outages(showers()).items():
            forecast = made(frames)
            highest = calibration.rate_from_pixel(forecast.max().clamp(min=0).item())
            last = calibration.rate_from_pixel(frames[:, -1].max().item())
            growth = 10 ** (HEADROOM_DB / 10 / 1.56)
            assert highest <= last * growth * 1.001, name
            along = Extrapolation(LEADS)(to_hko7(frames, calibration))  # the network's own motion
            extrapolated = from_hko7(along, calibration)
            rain = mean_rate(forecast, calibration)
            most = np.maximum(
                mean_rate(extrapolated, calibration), mean_rate(frames[:, -1:], calibration)
            )
            # It is carried along motion at a quarter of the resolution.
            assert (rain <= 1.1 * TOTAL * most).all(), name
            assert forecast.isfinite().all()


def test_without_the_bound_these_weights_would():
    made, frames = wild(0, 3.0), showers()
    network = made.network
    seen: list[Tensor] = []
    network.head.register_forward_hook(lambda *call: seen.append(call[-1]))
    made(frames)
    assert max(float(part.abs().max()) for part in seen) > 10


def test_inflow_is_at_most_persistence_nearby_at_every_lead():
    rain = torch.zeros(1, 1, 64, 64)
    rain[..., 20:24, 20:24] = 0.5
    unknown = torch.zeros_like(rain, dtype=torch.bool)
    found = [ceiling(rain, unknown, lead) for lead in (1, 5, 20)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert float(found[0].max()) == 0.5  # no headroom
    assert float(found[0][..., 36:, :].max()) == 0.0


def test_rain_of_unknown_source_raises_no_ceiling():
    rain = torch.zeros(1, 1, 32, 32)
    rain[..., :8, :] = 0.6
    known = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    assert float(ceiling(rain, known, 6)[0, 0, 12].max()) > 0.4
    known[..., :8, :] = False
    found = ceiling(rain, known, 6)
    assert torch.equal(found[..., :8, :], rain[..., :8, :])  # no more than persistence
    assert torch.equal(found[..., 8:, :], torch.full_like(found[..., 8:, :], HEADROOM))
    known[:] = False
    known[..., 16:, :] = True  # dry inflow beside rain of known source is no rain
    rain[:] = 0.0
    rain[..., 16:, :] = 0.6
    assert float(ceiling(rain, known, 6)[..., :16, :].max()) == 0.0


def test_what_is_near_grows_with_the_lead_time():
    rain = torch.zeros(1, 1, 96, 96)
    rain[..., 48, 48] = 0.5
    known = torch.ones_like(rain, dtype=torch.bool)
    rows = torch.arange(96)[:, None].expand(96, 96)
    distance = torch.maximum((rows - 48).abs(), (rows.T - 48).abs())
    reached = []
    for lead in (1, 3, 6, 10):
        high = ceiling(rain, known, lead)[0, 0]
        assert float(high.max()) == pytest.approx(0.5 + HEADROOM)
        far = distance > CELL_PX * (near_cells(lead) + 2)
        assert float(high[far].max()) == pytest.approx(HEADROOM)
        assert (high >= rain[0, 0] + HEADROOM).all()
        reached.append(int((high > 0.1 + HEADROOM).sum()))
    assert reached == sorted(reached) and reached[0] < reached[-1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.1, 6.0))
def test_the_total_is_held_by_one_factor(seed: int, factor: float):
    generator = torch.Generator().manual_seed(seed)
    last = torch.rand(2, 1, 12, 15, generator=generator).sub(0.4).clamp(min=0)
    shift = 15.6 / DBZ_SPAN * float(np.log10(factor))
    forecast = (last + shift).where(last > 0.1, 0.0)
    found = within_total(forecast, last, torch.zeros_like(last))
    assert (found <= forecast).all() and (found >= 0).logical_or(forecast < 0).all()
    calibration = Calibration()
    before, after = (mean_rate(part, calibration) for part in (forecast, found))
    most = TOTAL * mean_rate(last, calibration)
    assert (after <= most * 1.02 + 0.02).all()
    kept = before < 0.95 * most - 0.02
    assert torch.equal(found[torch.from_numpy(kept)], forecast[torch.from_numpy(kept)])


def test_nothing_is_allowed_where_nothing_is_and_its_gradient_is_finite():
    forecast = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    nothing = torch.zeros(1, 1, 8, 8)
    found = within_total(forecast, nothing, nothing)
    found.sum().backward()
    assert float(found.detach().max()) < 1e-6
    assert forecast.grad is not None and bool(forecast.grad.isfinite().all())


@pytest.mark.parametrize("exporting", [False, True])
def test_the_exported_graph_has_the_same_bound(exporting: bool, monkeypatch: pytest.MonkeyPatch):
    made = wild(2, 1.0)
    monkeypatch.setattr(torch.compiler, "_is_exporting_flag", exporting)
    for frames in outages(showers(45, 50)).values():
        mask = torch.ones_like(frames, dtype=torch.bool)
        motion = torch.full((1, 2, 45, 50), 1.5)
        found = made.network(frames, mask, motion, torch.tensor([[5.0, 1.0]]))
        assert float(found.max()) <= float(frames[:, -1].max()) + HEADROOM + 1e-6


def test_the_lagrangian_network_has_it_too():
    torch.manual_seed(0)
    stages = (Stage(channels=3, hidden=4, kernel=3, down=(3, 2, 1), up=(4, 2, 1)),)
    network = EncoderForecaster(stages, LEADS, guided=True, channels_out=Lagrangian.CHANNELS)
    made = Lagrangian(network).eval().requires_grad_(False)
    nn.init.constant_(made.network.head.bias, 4.0)
    frames = showers(46, 62)
    forecast, extrapolated = made(frames), Extrapolation(LEADS)(frames)
    assert float((5 * extrapolated).max()) > 1.0  # what the network wants
    assert float(forecast.max()) <= float(frames[:, -1].max()) + HEADROOM + 1e-6
    rain, most = (mean_rate(part, Calibration()) for part in (forecast, extrapolated))
    assert (rain <= 1.05 * TOTAL * most.max(axis=1, keepdims=True)).all()


def test_gradients_reach_the_weights_where_the_bound_does_not_act():
    made = Comoving(LEADS, None, SMALL)
    frames = showers()
    made(frames).sum().backward()
    gradient = made.network.head.weight.grad
    assert gradient is not None and bool((gradient != 0).any())
    assert bool(gradient.isfinite().all())
