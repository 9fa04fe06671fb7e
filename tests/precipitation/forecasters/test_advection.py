"""Backward semi-Lagrangian advection, by hand: translation, rotation, edges and no data."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.flow.advection import advect


def field(height: int = 40, width: int = 50) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))


def seen(frame: Tensor) -> Tensor:
    return torch.ones_like(frame, dtype=torch.bool)


def uniform(frame: Tensor, right: float, down: float) -> Tensor:
    return (
        torch.tensor([float(right), float(down)]).view(1, 2, 1, 1).expand(1, 2, *frame.shape[-2:])
    )


def test_whole_pixels_are_shifted_exactly_and_what_flows_in_is_unknown():
    frame = field()
    values, known = advect(frame, seen(frame), uniform(frame, 3, -2), [1, 2])
    assert values.shape == (1, 2, 1, 40, 50)
    for lead in (1, 2):
        right, up = 3 * lead, 2 * lead
        moved, source = values[0, lead - 1, 0], frame[0, 0]
        torch.testing.assert_close(moved[: 40 - up, right:], source[up:, : 50 - right])
        expected = torch.zeros(40, 50, dtype=torch.bool)
        expected[: 40 - up, right:] = True
        assert torch.equal(known[0, lead - 1, 0], expected)
        assert not moved[~expected].any()


def test_no_motion_is_the_frame_itself_with_its_no_data():
    frame = field()
    mask = torch.rand(frame.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    values, known = advect(frame.where(mask, math.nan), mask, uniform(frame, 0, 0), [0, 4])
    for lead in range(2):
        assert torch.equal(known[:, lead], mask)
        torch.testing.assert_close(values[:, lead], frame.where(mask, 0.0))


def test_half_a_pixel_is_the_mean_of_two():
    frame = field()
    values, _ = advect(frame, seen(frame), uniform(frame, 0.5, 0), [1])
    mean = (frame[..., 1:] + frame[..., :-1]) / 2
    torch.testing.assert_close(values[0, 0, 0, :, 1:], mean[0, 0])


def test_no_data_travels_and_does_not_bleed():
    frame = torch.full((1, 1, 9, 9), 0.5)
    mask = seen(frame)
    mask[..., 4, 4] = False
    values, known = advect(frame.where(mask, 9.0), mask, uniform(frame, 2.25, 0), [1])
    # The source of column 6 is 3.75: three quarters of its weight lie on the hole.
    assert not known[0, 0, 0, 4, 6] and bool(known[0, 0, 0, 4, 7])
    assert int((~known[0, 0, 0, :, 2:]).sum()) == 1
    torch.testing.assert_close(values[known], torch.full_like(values[known], 0.5))


def test_a_trajectory_turns_with_the_motion():
    """A rigid rotation: after n steps the source is turned back by n times the angle.

    A step's chord at half its way, ``a = w x (x - a / 2)``, turns by 2 atan(w / 2) exactly.
    """
    side, spin, steps = 81, 0.1, 12
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = columns - 40.0, rows - 40.0
    motion = torch.stack([-spin * y, spin * x])[None]
    blob = torch.exp(-((x - 20) ** 2 + y**2) / 50)[None, None]
    values, known = advect(blob, seen(blob), motion, [steps])
    angle = steps * 2 * math.atan(spin / 2)
    turned = torch.exp(-((x - 20 * math.cos(angle)) ** 2 + (y - 20 * math.sin(angle)) ** 2) / 50)
    inside = (x**2 + y**2) < 38**2
    assert bool(known[0, 0, 0][inside].all())
    # Three iterations leave an error of order (spin / 2)^4 of a step; bilinear interpolation of
    # this blob one of 1/8 of its second derivative, 0.005.
    torch.testing.assert_close(values[0, 0, 0][inside], turned[inside], atol=0.01, rtol=0)


def test_lead_times_are_the_steps_of_one_trajectory():
    frame = field()
    motion = 3 * torch.rand(1, 2, 40, 50, generator=torch.Generator().manual_seed(2))
    every, _ = advect(frame, seen(frame), motion, range(1, 7))
    some, _ = advect(frame, seen(frame), motion, [2, 6])
    assert torch.equal(some, every[:, [1, 5]])


def test_pysteps_traces_the_same_way():
    """pysteps 1.21 with as many iterations; its pieces of a step are thirds, ours one midpoint."""
    semilagrangian = pytest.importorskip("pysteps.extrapolation.semilagrangian")
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    motion = torch.stack([2 + torch.sin(rows / 15), torch.cos(columns / 12)])[None]
    frame = torch.sin(rows / 5) * torch.cos(columns / 6) + 1
    values, known = advect(frame[None, None], seen(frame[None, None]), motion, range(1, 6))
    expected = semilagrangian.extrapolate(
        frame.double().numpy(), motion[0].double().numpy(), 5, n_iter=3
    )
    both = known[0, :, 0].numpy() & np.isfinite(expected)
    assert both.mean() > 0.8
    np.testing.assert_allclose(values[0, :, 0].numpy()[both], expected[both], atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1)])
def test_frames_of_one_pixel_a_side(shape: tuple[int, int]):
    frame = field(*shape)
    values, known = advect(frame, seen(frame), uniform(frame, 0, 0), [1])
    torch.testing.assert_close(values[:, 0], frame)
    assert known.all()
