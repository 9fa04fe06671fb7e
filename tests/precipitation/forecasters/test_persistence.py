"""Persistence repeats the last input frame."""

import torch

from nowcast.precipitation.forecasters.persistence import Persistence


def test_persistence_repeats_the_last_frame():
    frames = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    forecast = Persistence(out_len=4)(frames)
    assert forecast.shape == (2, 4, 1, 4, 5)
    for lead in range(4):
        assert torch.equal(forecast[:, lead], frames[:, 2])
    assert torch.equal(Persistence(4)(frames, torch.zeros_like(frames, dtype=torch.bool)), forecast)
