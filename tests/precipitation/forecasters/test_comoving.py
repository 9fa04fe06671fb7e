"""The comoving forecaster begins as S-PROG along optical flow and departs as its network says."""

import pytest
import torch
from torch import Tensor

from nowcast import plug_in
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving, without_gaps
from nowcast.precipitation.forecasters.comoving.network import ComovingNetwork, Widths
from nowcast.precipitation.forecasters.comoving.past import Past
from nowcast.precipitation.forecasters.flow.cascade import cascade, matched
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation, motions
from nowcast.precipitation.units import Calibration

pytestmark = pytest.mark.isa

SMALL = Widths(stem=3, hidden=(4, 5), guide=4, head=6, pixel=6)


def model(out_len: int = 4, calibration: Calibration | None = None) -> Comoving:
    torch.manual_seed(0)
    return Comoving(out_len, calibration, SMALL)


def moving_rain(height: int = 48, width: int = 64, frames: int = 5) -> Tensor:
    """Two cells that move 2 pixels to the right and 1 down a step."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    found = []
    for time in range(frames):
        cells = [(15 + time, 12 + 2 * time, 5), (30 + time, 25 + 2 * time, 7)]
        rain = sum(
            torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * side**2))
            for row, column, side in cells
        )
        found.append(0.7 * rain)
    return torch.stack(found).clamp(0, 1)[None, :, None].repeat(2, 1, 1, 1, 1)


def test_training_begins_near_the_extrapolation_of_rain_that_only_moves():
    frames = moving_rain()
    forecast, extrapolated = model()(frames), Extrapolation(4)(frames)
    moved = (extrapolated - frames[:, -1:]).abs().mean()
    assert moved > 0.01
    assert (forecast - extrapolated).abs().mean() < 0.5 * moved
    assert forecast.shape == (2, 4, 1, 48, 64)


def test_the_past_is_carried_to_where_the_rain_is_now():
    frames = moving_rain()
    mask = torch.ones_like(frames, dtype=torch.bool)
    network = ComovingNetwork(4, SMALL)
    _, source = network._motion(motions(frames, mask), 4, keep=False)
    past = Past(frames[:, -1], mask[:, -1], 5)
    history = torch.stack(
        list(network._history(lambda time: (frames[:, time], mask[:, time]), 5, source, past))
    )
    assert torch.equal(past.newest[0], frames[:, -1]) and len(past.newest) == 3
    assert history.shape == (5, 2, 2, 48, 64)
    now = history[-1][:, :1]
    still = (frames.transpose(0, 1)[:-1] - now).abs().mean()
    assert (history[:-1, :, :1] - now).abs().mean() < 0.3 * still
    assert torch.equal(now, frames[:, -1])


def test_what_is_known_is_heard():
    frames = moving_rain()
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[..., 20:40] = False
    made = model()
    assert not torch.equal(made(frames, mask), made(frames))
    hidden = frames.where(mask, 0.9)  # what stands where the mask is False does not matter
    torch.testing.assert_close(made(hidden, mask), made(frames.where(mask, 0.1), mask))


def test_a_frame_without_data_repeats_its_neighbour():
    frames = moving_rain()
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[0, 0] = mask[0, 3] = mask[1, 4] = False
    filled, data = without_gaps(frames, mask)
    assert torch.equal(filled[0, 0], frames[0, 1])
    assert torch.equal(filled[0, 3], frames[0, 2])
    assert torch.equal(filled[1, 4], frames[1, 3])
    assert bool(data.all())
    none = torch.zeros_like(mask)
    assert torch.equal(without_gaps(frames, none)[1], none)
    assert bool(model()(frames, none).isfinite().all())


def test_the_network_sees_rain_rates_whatever_the_archives_relation():
    frames = moving_rain()
    dwd = Calibration(256.0, 1.42)
    rates = dwd.rate_from_pixel(frames.numpy())
    same = torch.from_numpy(Calibration().pixel_from_rate(rates)).float()
    ours = dwd.rate_from_pixel(model(calibration=dwd)(frames).detach().clamp(0, 1).numpy())
    theirs = Calibration().rate_from_pixel(model()(same).detach().clamp(0, 1).numpy())
    heavy = torch.from_numpy((ours > 1) & (theirs > 1))
    assert heavy.sum() > 500
    ratio = torch.from_numpy(ours)[heavy] / torch.from_numpy(theirs)[heavy]
    assert float(ratio.median()) == pytest.approx(1, abs=0.02)


def test_frames_of_any_size_keep_it():
    whole = moving_rain(50, 61)
    for height, width in ((50, 61), (17, 23)):
        assert model()(whole[..., :height, :width]).shape == (2, 4, 1, height, width)


def test_every_weight_learns_and_memel_fits_the_gates():
    made = model()
    layers = plug_in(
        made, ["*.candidate"], dry_run=lambda m: m(torch.zeros(1, 5, 1, 48, 64)), late_start=1
    )
    assert len(layers) == 4
    for last in (made.network.head, made.network.correction.added):
        torch.nn.init.normal_(last.weight, std=0.03)
    for _ in range(2):
        made.zero_grad()
        made(moving_rain()).square().sum().backward()
    for name, weight in made.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_bfloat16_is_near():
    frames = moving_rain()
    made = model().eval()
    for last in (made.network.head, made.network.correction.added):
        torch.nn.init.normal_(last.weight, std=0.03)
    with torch.no_grad():
        exact = made(frames)
        with torch.autocast("cpu", torch.bfloat16):
            near = made(frames)
    assert near.dtype == torch.float32
    assert (near - exact).abs().mean() < 0.01
    smoothed = matched(
        cascade([frames[:, -1]] * 3, 2, Calibration()),
        frames[:, -1],
        torch.ones_like(frames[:, -1], dtype=torch.bool),
    )
    assert smoothed.shape == (2, 2, 1, 48, 64)


def test_recomputed_steps_give_the_same_gradient():
    def gradients(recompute: bool) -> list[Tensor]:
        made = model()
        torch.nn.init.constant_(made.network.head.weight, 0.1)
        if recompute:
            made.gradient_checkpointing_enable()
        made(moving_rain()).square().sum().backward()
        return [weight.grad for weight in made.parameters() if weight.grad is not None]

    for kept, again in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(kept, again, rtol=1e-4, atol=1e-6)
