"""Mixup, CutMix and label smoothing, worked by hand, and the same on any number of ranks."""

import numpy as np
import pytest
import torch

from nowcast.core.system.distributed import Ranks
from nowcast.imagenet.settings import AugmentSettings
from nowcast.imagenet.transforms.mix import Mix, draw_mix, partner, places_of, soft_targets

DEFAULT = AugmentSettings()


def test_targets_are_smoothed_and_sum_to_one():
    found = soft_targets(torch.tensor([2, 0]), 4, 0.1)
    expected = torch.tensor([[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]])
    torch.testing.assert_close(found, expected)


def test_mixup_weights_pixels_and_targets_alike():
    images, others = torch.full((1, 3, 2, 2), 4.0), torch.full((1, 3, 2, 2), 8.0)
    mix = Mix(0.75, None)
    torch.testing.assert_close(mix.images(images, others), torch.full((1, 3, 2, 2), 5.0))
    found = mix.targets(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25]]))


def test_cutmix_takes_a_box_and_its_share_of_the_target():
    images, others = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
    cuts = [draw_mix(DEFAULT.model_copy(update={"mixup": 0}), 0, step, 8) for step in range(50)]
    shares = set()
    for mix in cuts:
        assert mix is not None and mix.box is not None
        found = mix.images(images, others)
        assert found.mean().item() == pytest.approx(1 - mix.weight)
        shares.add(round(mix.weight, 3))
    assert len(shares) > 8 and images.sum() == 0


def test_either_is_drawn_in_half_of_the_batches_with_its_distribution():
    drawn = [draw_mix(DEFAULT, 1, step, 224) for step in range(600)]
    assert drawn[:50] == [draw_mix(DEFAULT, 1, step, 224) for step in range(50)]
    assert drawn[:50] != [draw_mix(DEFAULT, 2, step, 224) for step in range(50)]
    mixups = np.array([mix.weight for mix in drawn if mix is not None and mix.box is None])
    assert 250 < len(mixups) < 350
    assert mixups.mean() == pytest.approx(0.5, abs=0.06)
    assert mixups.var() == pytest.approx(1 / (4 * 2.6), abs=0.015)  # of Beta(0.8, 0.8)


def test_each_can_be_off():
    off = {"mixup": 0.0, "cutmix": 0.0}
    assert draw_mix(DEFAULT.model_copy(update=off), 0, 0, 8) is None
    for kept, has_box in (("mixup", False), ("cutmix", True)):
        settings = DEFAULT.model_copy(update=off | {kept: 1.0})
        found = [draw_mix(settings, 0, step, 8) for step in range(20)]
        assert all(mix is not None and (mix.box is not None) == has_box for mix in found)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 12, 16])
def test_ranks_share_all_places_and_mostly_whole_pairs(batch_size: int):
    for size in (1, 2, 3, 4):
        shares = [places_of(batch_size, Ranks(rank, size)).tolist() for rank in range(size)]
        assert sorted(place for share in shares for place in share) == list(range(batch_size))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        for share in shares:
            absent = {partner(place, batch_size) for place in share} - set(share)
            assert len(absent) <= 2
            assert not absent or batch_size % (2 * size)
    assert all(partner(partner(place, 7), 7) == place for place in range(7))
