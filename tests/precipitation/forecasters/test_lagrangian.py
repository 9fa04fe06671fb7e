"""The Lagrangian forecaster begins as optical flow and departs from it as its network says."""

import pytest
import torch
from torch import Tensor

from nowcast import plug_in
from nowcast.precipitation.forecasters.encoder_forecaster import CellName, EncoderForecaster, Stage
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation
from nowcast.precipitation.forecasters.lagrangian import SCALES_PX, Lagrangian, bands

pytestmark = pytest.mark.isa

STAGES = (
    Stage(channels=3, hidden=4, kernel=3, down=(3, 2, 1), up=(4, 2, 1)),
    Stage(channels=5, hidden=6, kernel=3, down=(5, 3, 1), up=(5, 3, 1)),
)


def model(cell: CellName = "convgru", out_len: int = 4) -> Lagrangian:
    torch.manual_seed(0)
    network = EncoderForecaster(
        STAGES, out_len, cell=cell, guided=True, channels_out=Lagrangian.CHANNELS
    )
    return Lagrangian(network)


def moving_rain(height: int = 48, width: int = 60) -> Tensor:
    """Two cells that move 2 pixels to the right and 1 down a step."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frames = []
    for time in range(4):
        cells = [(15 + time, 12 + 2 * time, 5), (30 + time, 25 + 2 * time, 7)]
        rain = sum(
            torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * side**2))
            for row, column, side in cells
        )
        frames.append(0.7 * rain)
    return torch.stack(frames).clamp(0, 1)[None, :, None].repeat(2, 1, 1, 1, 1)


@pytest.mark.parametrize("cell", ["convgru", "trajgru", "convlstm"])
def test_training_begins_from_the_extrapolation_to_the_bit(cell: CellName):
    frames, mask = moving_rain(), torch.ones(2, 4, 1, 48, 60, dtype=torch.bool)
    mask[:, :, :, :10] = False
    extrapolation = Extrapolation(4)(frames, mask)
    assert (extrapolation - frames[:, -1:]).abs().max() > 0.1  # it moves
    assert torch.equal(model(cell)(frames, mask), extrapolation)
    assert not torch.equal(model(cell)(frames), extrapolation)  # the mask is heard


def test_the_departure_is_the_bands_times_their_change():
    made, frames = model(), moving_rain()
    with torch.no_grad():
        made.network.head.weight.normal_(std=0.1)
        made.network.head.bias.copy_(torch.tensor([-1.0, -0.5, -0.3, -0.2, -0.1]))
    carried = made.extrapolation(frames)
    change = made.network(frames, None, carried)
    split = torch.cat(bands(carried), dim=2)
    expected = carried
    for band in range(len(SCALES_PX) + 1):
        expected = expected + change[:, :, band : band + 1] * split[:, :, band : band + 1]
    found = made(frames)
    assert (found <= expected + 1e-6).all()  # see `test_bound`
    held = found < expected - 1e-6
    assert held.float().mean() < 0.2
    torch.testing.assert_close(found[~held], expected[~held], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(48, 60), (17, 23), (5, 3)])
def test_bands_add_up_to_the_frame(height: int, width: int):
    frames = torch.rand(2, 3, 1, height, width, generator=torch.Generator().manual_seed(0))
    split = torch.cat(bands(frames), dim=2)
    assert split.shape == (2, 3, 5, height, width)
    torch.testing.assert_close(split.sum(2, keepdim=True), frames, rtol=1e-5, atol=1e-6)


def test_a_wave_is_in_the_band_of_its_length():
    columns = torch.arange(96)
    for band, period in ((0, 2), (1, 6), (2, 12), (3, 24), (4, 96)):
        wave = torch.cos(2 * torch.pi * (columns + 0.5) / period)
        wave = torch.where(wave.abs() < 1e-4, columns % 2 - 0.5, wave)  # a period of 2
        split = torch.cat(bands(wave.expand(1, 1, 1, 96, 96).float()), dim=2)
        power = split[0, 0, :, 32:64, 32:64].square().mean(dim=(1, 2))
        assert power.argmax() == band


def test_the_networks_guide_is_the_extrapolation():
    made, frames = model(), moving_rain()
    with torch.no_grad():
        made.network.head.weight.normal_()
    guides = made.extrapolation(frames)
    assert not torch.allclose(
        made.network(frames, None, guides), made.network(frames, None, guides.flip(1))
    )


def test_every_weight_learns():
    made, frames = model(), moving_rain()
    optimiser = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(2):  # the head alone has a gradient in the first step
        optimiser.zero_grad()
        (made(frames) - 0.5).square().mean().backward()
        optimiser.step()
    without = [name for name, weight in made.named_parameters() if not weight.grad.any()]
    assert without == []


def test_it_learns_that_rain_decays_in_a_few_steps():
    made, frames = model(out_len=3), moving_rain()
    truth = made.extrapolation(frames) * torch.tensor([0.9, 0.8, 0.7]).view(1, 3, 1, 1, 1)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        loss = (made(frames) - truth).square().mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.1 * losses[0]


def test_memel_plugs_in_and_frames_of_any_size_are_forecast():
    made = model()
    layers = plug_in(
        made, "*.candidate", dry_run=lambda host: host(moving_rain()), late_start=1, top_k=2
    )
    assert len(layers) == 4
    with pytest.raises(ValueError, match="no multiple of the model's strides"):
        made(moving_rain(49, 61))
    assert made.eval()(moving_rain(49, 61)).shape == (2, 4, 1, 49, 61)


def test_bfloat16_leaves_the_extrapolation_exact():
    made, frames = model(), moving_rain()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        forecast = made(frames)
    assert torch.equal(forecast, made.extrapolation(frames))


def test_a_network_without_guide_is_an_error():
    with pytest.raises(ValueError, match="guided=True and channels_out=5, found guided=False"):
        Lagrangian(EncoderForecaster(STAGES, 4))
