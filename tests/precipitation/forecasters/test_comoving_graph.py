"""What a graph computes otherwise than the comoving network comes to the same."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.comoving import graph as comoving_graph
from nowcast.precipitation.forecasters.comoving.graph import ComovingGraph
from nowcast.precipitation.forecasters.comoving.network import ComovingNetwork, Widths
from nowcast.precipitation.forecasters.flow import cascade
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

pytestmark = pytest.mark.isa

SIZES = [(32, 48), (47, 30), (33, 65)]


def rain(times: int, height: int, width: int) -> Tensor:
    """In a radar's levels, dry in places; ``2 times 1 height width``."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, times, height + 20, width + 20, generator=generator)
    blobs = (8 * functional.avg_pool2d(noise, 9, 1, 4) - 3.6).clamp(0, 1)[..., 10:-10, 10:-10]
    levels = (blobs * PIXEL_LEVELS).round() / PIXEL_LEVELS
    return levels.where(levels >= 0.17, 0.0)[:, :, None].contiguous()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_filters_and_transforms_without_complex_numbers(height: int, width: int):
    filters, constant = comoving_graph._filters(height, width)
    expected = cascade._filters(height, width, torch.device("cpu"))
    torch.testing.assert_close(filters, expected, rtol=0, atol=1e-5)
    assert constant.sum() == constant[0, 0] == 1
    field = rain(1, height, width)[:, 0, 0]
    spectrum = torch.fft.rfft2(field)
    real, imaginary = comoving_graph._spectrum(field)
    torch.testing.assert_close(real, spectrum.real, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(imaginary, spectrum.imag, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        comoving_graph._field(real, imaginary, width), field, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_cascade_fades_alike(height: int, width: int):
    first = rain(1, height, width)[:, 0]
    frames = [first, 0.9 * first + 0.1 * first.flip(-1), 0.8 * first + 0.2 * first.flip(-2)]
    expected = cascade.cascade(frames, 4, Calibration())
    assert (expected[3] - expected[0]).abs().max() > 0.02
    found = comoving_graph.cascade(frames, 4, Calibration())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_ranks_are_matched_to_the_bit():
    frame = rain(1, 40, 30)[:, 0]
    faded = functional.avg_pool2d(frame, 5, 1, 2).expand(3, -1, -1, -1, -1).clone()
    faded[1] += 0.1 * faded[1].flip(-1)
    mask = torch.ones(2, 1, 40, 30, dtype=torch.bool)
    mask[0, :, :9] = False
    expected = cascade.matched(faded, frame, mask)
    assert torch.equal(comoving_graph.matched(faded, frame, mask), expected)
    mask[0] = False  # nothing to match: the frame as it stands
    found = comoving_graph.matched(faded, frame, mask)
    assert torch.equal(found, cascade.matched(faded, frame, mask))
    assert torch.equal(found[1, 0], frame[0])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_whole_network(height: int, width: int):
    torch.manual_seed(0)
    widths = Widths(3, (4, 4), 3, 4)
    network = ComovingNetwork(3, widths).eval().requires_grad_(False)
    network.head.weight.normal_(0, 0.3)
    network.head.bias.normal_(0, 0.1)
    frames = rain(4, height, width)
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[:, :, :, :6, :9] = False
    motion = torch.tensor([1.3, -0.6])[None, :, None, None].expand(2, 2, height, width)
    expected = network(frames, mask, motion)
    found = ComovingGraph(network, widths).eval()(frames, mask, motion)
    assert expected.std() > 0.05
    # Where rounding decides a rank, a pixel has another of the last frame's values.
    assert ((found - expected).abs() <= 1e-4).float().mean() > 0.99
    assert (found - expected).abs().mean() < 1e-4
