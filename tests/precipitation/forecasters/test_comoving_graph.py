"""What the comoving network computes otherwise in a graph comes to the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.comoving.network import ComovingNetwork, Widths
from nowcast.precipitation.forecasters.flow import cascade, spectrum
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


@contextmanager
def exporting() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "_is_exporting_flag", True)
        yield


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_transforms_without_complex_numbers(height: int, width: int):
    field = rain(1, height, width)[:, 0, 0]
    found = spectrum.spectrum_by_products(field)
    torch.testing.assert_close(found, spectrum.spectrum(field), rtol=1e-4, atol=1e-3)
    back = spectrum.field_by_products(found, height, width)
    torch.testing.assert_close(back, field, rtol=0, atol=1e-5)
    torch.testing.assert_close(spectrum.field(found, height, width), field, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_cascade_fades_alike(height: int, width: int):
    first = rain(1, height, width)[:, 0]
    frames = [first, 0.9 * first + 0.1 * first.flip(-1), 0.8 * first + 0.2 * first.flip(-2)]
    expected = cascade.cascade(frames, 4, Calibration())
    assert (expected[3] - expected[0]).abs().max() > 0.02
    with exporting():
        found = cascade.cascade(frames, 4, Calibration())
    assert not torch.equal(found, expected)  # it was another way
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_whole_network(height: int, width: int):
    torch.manual_seed(0)
    network = ComovingNetwork(3, Widths(stem=3, hidden=(4, 4), guide=3, head=4, pixel=4))
    network.eval().requires_grad_(False)
    network.head.weight.normal_(0, 0.03)
    network.correction.added.weight.normal_(0, 0.03)
    network.head.bias.normal_(0, 0.1)
    frames = rain(4, height, width)
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[:, :, :, :6, :9] = False
    motion = torch.tensor([1.3, -0.6])[None, :, None, None].expand(2, 2, height, width)
    network.everywhere.weight.normal_(0, 0.1)
    scale = torch.tensor([[5.0, 1.0], [10.0, 0.0]])
    expected = network(frames, mask, motion, scale)
    with exporting():
        found = network(frames, mask, motion, scale)
    assert expected.std() > 0.05
    # Where rounding decides a rank, a pixel has another of the last frame's values.
    assert ((found - expected).abs() <= 1e-4).float().mean() > 0.99
    assert (found - expected).abs().mean() < 1e-4
