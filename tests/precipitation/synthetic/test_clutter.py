"""Clutter of known truth: the same for a seed, where it says it is, and never hiding the rain."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.synthetic.archive import write_synthetic
from nowcast.precipitation.synthetic.cells import FLOOR_DBZ
from nowcast.precipitation.synthetic.clutter import (
    KINDS,
    RING_WIDTH_PX,
    SPECKLE_PX,
    SPIKE_WIDTH_RAD,
    Clutter,
    Struck,
)

SHAPE = (96, 128)
MIDDLE = ((SHAPE[0] - 1) / 2, (SHAPE[1] - 1) / 2)
STEP = 6


def a_day(seed: int, dbz: np.ndarray) -> list[tuple[np.ndarray, Struck]]:
    clutter = Clutter(np.random.default_rng(seed), SHAPE, STEP)
    return [clutter.overlay(dbz, minute) for minute in range(0, 1440, STEP)]


@pytest.fixture(scope="module")
def dry_day() -> list[tuple[np.ndarray, Struck]]:
    return a_day(0, np.full(SHAPE, -np.inf))


def test_a_seed_gives_the_same_clutter_and_another_seed_another(
    dry_day: list[tuple[np.ndarray, Struck]],
):
    again, other = (a_day(seed, np.full(SHAPE, -np.inf)) for seed in (0, 1))
    for (seen, struck), (seen_again, struck_again) in zip(dry_day, again, strict=True):
        np.testing.assert_array_equal(seen, seen_again)
        assert all(np.array_equal(struck[kind], struck_again[kind]) for kind in KINDS)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(dry_day, other, strict=True))


def test_without_rain_the_truth_is_every_echo(dry_day: list[tuple[np.ndarray, Struck]]):
    for seen, struck in dry_day:
        anywhere = np.any(list(struck.values()), axis=0)
        np.testing.assert_array_equal(anywhere, seen >= FLOOR_DBZ)


def test_a_day_has_every_kind_about_as_often_as_stated(dry_day: list[tuple[np.ndarray, Struck]]):
    share = {kind: np.mean([struck[kind].any() for _, struck in dry_day]) for kind in KINDS}
    assert 0.4 < share["speckle"] < 0.6
    assert 0.06 < share["ring"] < 0.18
    assert 2 * 25 / 1440 * 0.8 < share["spike"] < 2 * 60 / 1440 * 1.2  # two spikes of 25-60 min


def test_speckles_are_small(dry_day: list[tuple[np.ndarray, Struck]]):
    sizes = []
    for _, struck in dry_day:
        labels, count = ndimage.label(struck["speckle"], np.ones((3, 3)))
        sizes += np.bincount(labels.ravel())[1:].tolist()
        assert len(sizes) >= count
    assert np.mean(np.array(sizes) <= SPECKLE_PX) > 0.95  # now and then two meet


def test_rings_are_thin_circles_around_the_middle(dry_day: list[tuple[np.ndarray, Struck]]):
    rings = [struck["ring"] for _, struck in dry_day if struck["ring"].any()]
    assert len(rings) > 5
    for ring in rings:
        rows, columns = np.nonzero(ring)
        distance = np.hypot(rows - MIDDLE[0], columns - MIDDLE[1])
        assert np.ptp(distance) <= RING_WIDTH_PX[1]
        assert len(rows) > 1.5 * np.pi * distance.mean()  # most of a circle, pixel by pixel


def test_spikes_stand_at_dawn_in_the_east_and_at_dusk_in_the_west(
    dry_day: list[tuple[np.ndarray, Struck]],
):
    halves = set()
    for number, (seen, struck) in enumerate(dry_day):
        rows, columns = np.nonzero(struck["spike"])
        down, right = rows - MIDDLE[0], columns - MIDDLE[1]
        distance = np.hypot(down, right)
        far = distance > 30
        if not far.any():
            continue
        morning = number * STEP < 720
        halves.add(morning)
        assert (np.sign(right[far]) == (1 if morning else -1)).all()
        azimuth = np.arctan2(right[far], -down[far]) % (2 * np.pi)
        assert np.ptp(azimuth) <= SPIKE_WIDTH_RAD[1] + 1 / 30  # and half a pixel on both sides
        # Range correction of a constant power: 20 dB per decade of range.
        slope = np.polyfit(20 * np.log10(distance[far]), seen[rows[far], columns[far]], 1)[0]
        assert 0.4 < slope < 1.6
    assert halves == {True, False}


def test_the_larger_of_rain_and_clutter_is_seen():
    rain = np.where(np.arange(SHAPE[1]) < 64, 70.0, 12.0) * np.ones(SHAPE)
    hidden = 0
    for seen, struck in a_day(0, rain):
        anywhere = np.any(list(struck.values()), axis=0)
        assert (seen >= rain).all()
        np.testing.assert_array_equal(seen > rain, anywhere)
        hidden += int(anywhere[:, :64].sum())
        assert anywhere[:, 64:].any() or not anywhere.any()
    assert hidden == 0  # 70 dBZ outshines all clutter


def test_what_is_below_the_floor_is_not_clutter(dry_day: list[tuple[np.ndarray, Struck]]):
    for seen, struck in dry_day:
        for kind in KINDS:
            assert (seen[struck[kind]] >= FLOOR_DBZ).all()


def test_an_archive_with_clutter_holds_the_same_rain_and_masks_what_differs(tmp_path: Path):
    for clutter in (False, True):
        write_synthetic(
            tmp_path / str(clutter),
            days=3,
            seed=2,
            height=64,
            width=64,
            step_minutes=30,
            clutter=clutter,
        )
    clean, cluttered = (Archive(tmp_path / str(clutter)) for clutter in (False, True))
    np.testing.assert_array_equal(clean.moments, cluttered.moments)
    np.testing.assert_array_equal(clean.usable, cluttered.usable)
    struck = 0
    for moment in clean.moments:
        differs = clean.frame(moment) != cluttered.frame(moment)
        masked = ~cluttered.mask(moment) & clean.usable
        assert not (differs & clean.usable & ~masked).any()
        struck += int((differs & clean.usable).sum())
        # Masked without a difference: clutter within half a level of the rain it hides.
        assert (masked & ~differs).sum() <= 0.1 * max(20, masked.sum())
    assert struck > 500
