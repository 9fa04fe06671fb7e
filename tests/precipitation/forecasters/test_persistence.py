"""Persistence repeats the last input frame."""

import torch

from nowcast.precipitation.forecasters.persistence import BASELINES, Persistence


def test_persistence_repeats_the_last_frame():
    frames = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    forecast = Persistence(out_len=4)(frames)
    assert forecast.shape == (2, 4, 1, 4, 5)
    for lead in range(4):
        assert torch.equal(forecast[:, lead], frames[:, 2])
    assert torch.equal(Persistence(4)(frames, torch.zeros_like(frames, dtype=torch.bool)), forecast)


def test_baselines_are_found_by_name():
    frames = torch.rand(1, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(BASELINES["persistence"](1)(frames), frames[:, 1:])
