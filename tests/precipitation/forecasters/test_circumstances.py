"""What a clip is described by: correlations by scale, shares, and what it is shown in."""

import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.comoving.circumstances import (
    LAGS,
    NUMBERS,
    SCALES,
    Circumstances,
)
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.comoving.network import Widths
from nowcast.precipitation.forecasters.scale import Scale, numbers
from tests.precipitation.forecasters.test_comoving import moving_rain

pytestmark = pytest.mark.isa

CORRELATIONS = [0, 2 * SCALES, 3 * SCALES]  # where those of each lag begin


def circumstances(frames: list[Tensor], scale: Tensor, in_len: int) -> Tensor:
    """Of frames newest first, as many as there are."""
    found = Circumstances(frames[0], min(in_len, len(frames)))
    for age, part in reversed(list(enumerate(frames))):
        found.add(part, age)
    found._in_len = in_len
    return found.numbers(scale)


def frame(rain: Tensor, known: Tensor | None = None) -> Tensor:
    data = torch.ones_like(rain) if known is None else known
    return torch.stack([rain, data], dim=1)


def noise(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 64, 96, generator=generator)


def smooth(rain: Tensor) -> Tensor:
    return (
        torch.nn.functional.avg_pool2d(rain[:, None], 16)
        .repeat_interleave(16, 2)[:, 0]
        .repeat_interleave(16, 2)
    )


def test_each_scale_has_its_own_correlation():
    coarse, fine = smooth(noise(0)), 0.1 * (noise(1) - 0.5)
    others = [coarse + 0.1 * (noise(seed) - 0.5) for seed in range(2, 6)]
    found = circumstances(
        [frame(rain) for rain in (coarse + fine, *others)], numbers([Scale()] * 2), 10
    )
    assert found.shape == (2, NUMBERS)
    for first in CORRELATIONS:
        lag = found[:, first : first + SCALES]
        assert lag[:, :4].abs().max() < 0.3  # noise that is another one each time
        assert lag[:, 4].min() > 0.99  # what stays
    same = circumstances([frame(coarse + fine)] * 5, numbers([Scale()] * 2), 10)
    for first in CORRELATIONS:
        assert same[:, first : first + SCALES] == pytest.approx(torch.ones(2, SCALES), abs=1e-4)


def test_correlations_by_hand():
    one, other = noise(0), noise(0).roll(1, 2)
    found = circumstances([frame(one), frame(other)], numbers([Scale()] * 2), 3)

    def detail(rain: Tensor) -> Tensor:
        means = torch.nn.functional.avg_pool2d(rain[:, None], 2)[:, 0]
        return rain - means.repeat_interleave(2, 1).repeat_interleave(2, 2)

    first, second = detail(one).flatten(1), detail(other).flatten(1)
    wanted = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    for start in CORRELATIONS[: len(LAGS)]:  # two frames: every lag is one step
        assert found[:, start] == pytest.approx(wanted, abs=1e-4)


def test_what_is_not_known_does_not_count():
    known = torch.ones(2, 64, 96)
    known[:, 20:40] = 0
    hidden = [noise(seed).where(known > 0, seed * 1.0) for seed in range(5)]
    zeroed = [rain * known for rain in hidden]
    about = numbers([Scale(5, 2.0)] * 2)
    found, wanted = (
        circumstances([frame(rain, known) for rain in frames], about, 10)
        for frames in (hidden, zeroed)
    )
    torch.testing.assert_close(found, wanted)
    dry = circumstances([frame(torch.zeros(2, 64, 96), known * 0)] * 3, about, 10)
    assert bool(dry.isfinite().all())


def test_scale_and_length_are_told():
    frames = [frame(noise(seed)) for seed in range(5)]
    usual = circumstances(frames, numbers([Scale(5, 1)] * 2), 10)[:, -5:]
    assert usual.tolist() == [[0, 0, 1, 1, 0]] * 2
    untold = circumstances(frames, numbers([Scale()] * 2), 5)[:, -5:]
    assert untold.tolist() == [[0, 0, 0, 0, -0.5]] * 2
    other = circumstances(frames, numbers([Scale(10, 4), Scale(2.5, None)]), 10)[:, -5:]
    assert other.flatten().tolist() == pytest.approx(
        [0.6931, 1.3863, 1, 1, 0, -0.6931, 0, 1, 0, 0], abs=1e-4
    )


def test_a_forecaster_uses_what_it_is_told_of_its_archive():
    torch.manual_seed(0)
    made = Comoving(3, None, Widths(stem=3, hidden=(4, 5), guide=4, head=6))
    torch.nn.init.normal_(made.network.everywhere.weight, std=0.1)
    frames = moving_rain()
    with torch.no_grad():
        plain = made(frames)
        told = made(frames, scale=numbers([Scale(10, 2.0)] * 2))
        made.scale = Scale(10, 2.0)
        kept = made(frames)
        fewer = made(frames, out_len=2)
    assert not torch.equal(plain, told)
    assert torch.equal(told, kept)
    torch.testing.assert_close(fewer, kept[:, :2])
