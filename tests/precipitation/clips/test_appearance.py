"""One radar's clips made to look like another's: what each effect may change, and by how much."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from nowcast.precipitation.clips import appearance, beams
from nowcast.precipitation.clips.appearance import EFFECTS, Effect, as_another_radar
from nowcast.precipitation.clips.reflectivity import FAINTEST_MM_H, USUAL, Reflectivity
from nowcast.precipitation.units import Calibration

HKO7 = Calibration()
SEEN = Reflectivity(HKO7)
MIDDLE = (0.5, 0.5)
SEEDS = range(12)
FROM_NEIGHBOURS = {appearance.take_column_maxima, appearance.flicker}
NEW_IN_EACH_FRAME = {appearance.add_noise, appearance.flicker, appearance.raise_the_floor}

effects = pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)


def rain(frames: int = 3, size: tuple[int, int] = (60, 72)) -> tuple[np.ndarray, np.ndarray]:
    """The same smooth rain of 5 to 55 dBZ in every frame, half of which is dry; a masked block."""
    field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(size), 4, mode="wrap")
    dbz = np.where(field > 0, 5 + 50 * field / field.max(), -np.inf)
    levels = np.repeat(SEEN.levels(dbz)[None], frames, axis=0)
    mask = np.ones(levels.shape, dtype=bool)
    mask[:, 20:30, 30:45] = False
    return levels * mask, mask


def level(dbz: float, seen: Reflectivity = SEEN) -> int:
    return int(seen.levels(np.array([dbz]))[0])


def everywhere(dbz: Any, frames: int = 2, side: int = 81) -> tuple[np.ndarray, np.ndarray]:
    levels = np.broadcast_to(
        SEEN.levels(np.broadcast_to(dbz, (side, side))), (frames, side, side)
    ).copy()
    return levels, np.ones(levels.shape, dtype=bool)


def changed(effect: Effect, levels: np.ndarray, mask: np.ndarray, seed: int = 0) -> np.ndarray:
    found = levels.copy()
    effect(found, mask.copy(), np.random.default_rng(seed), SEEN)
    return found


def lost_db(effect: Effect, levels: np.ndarray, mask: np.ndarray, seed: int = 0) -> np.ndarray:
    found = changed(effect, levels, mask, seed)
    assert bool((found > 0).all())
    return np.asarray(SEEN.dbz_by_level[levels] - SEEN.dbz_by_level[found])


def fix(monkeypatch: pytest.MonkeyPatch, module: Any, **constants: Any) -> None:
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)


@effects
def test_an_effect_keeps_dry_dry_and_holds_for_the_whole_clip(effect: Effect):
    before, mask = rain()
    some = 0
    for seed in SEEDS:
        levels, valid = before.copy(), mask.copy()
        effect(levels, valid, np.random.default_rng(seed), SEEN)
        some += not np.array_equal(levels, before)
        if effect in FROM_NEIGHBOURS:
            near = ndimage.maximum_filter(before, size=(1, 3, 3)) > 0
            assert not levels[~near].any()
        elif effect is not appearance.raise_the_floor:
            assert not levels[before == 0].any()
        assert not levels[~mask].any()
        if effect is beams.cover_a_circle:
            assert not levels[~valid].any() and not valid[~mask].any()
        else:
            assert np.array_equal(valid, mask)
        assert np.array_equal(levels[0], levels[1]) == (effect not in NEW_IN_EACH_FRAME)
    assert some >= 8


def test_a_share_of_the_clips_changes_and_the_arguments_do_not():
    levels, mask = rain()
    kept = levels.copy(), mask.copy()
    some, masked = 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = as_another_radar(levels, mask, rng, HKO7, 0.5)
        again = as_another_radar(levels, mask, np.random.default_rng(seed), HKO7, 0.5)
        assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))
        some += found[0] is not levels
        masked += not np.array_equal(found[1], mask)
        assert rng.random() == np.random.default_rng(seed).random()  # later draws are as without
        unchanged = as_another_radar(levels, mask, np.random.default_rng(seed), HKO7, 0.0)
        assert unchanged[0] is levels and unchanged[1] is mask
    assert 80 < some < 120
    assert 8 < masked < 40  # the circle: one in eleven effects, two effects a clip
    assert np.array_equal(levels, kept[0]) and np.array_equal(mask, kept[1])


def test_turned_frames_come_out_the_same_but_turned():
    levels, mask = rain(size=(60, 60))
    turned = np.rot90(levels.copy(), axes=(1, 2)), np.rot90(mask.copy(), axes=(1, 2))
    straight = tuple(np.ascontiguousarray(frames) for frames in turned)
    for seed in range(20):
        one, other = (
            as_another_radar(*frames, np.random.default_rng(seed), HKO7, 1.0)
            for frames in (turned, straight)
        )
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_levels_masked_before_come_out_as_zero():
    levels, mask = rain()
    levels[~mask] = 200
    for seed in range(30):
        found, valid = as_another_radar(levels, mask, np.random.default_rng(seed), HKO7, 1.0)
        assert not found[~valid].any()


def test_reflectivity_is_that_of_the_same_rain_in_the_usual_relation():
    for calibration in (HKO7, USUAL, Calibration(256.0, 1.42)):
        seen = Reflectivity(calibration)
        assert np.array_equal(seen.levels(seen.dbz_by_level), np.arange(256))
        # 1 mm/h has 10 log10(200) = 23 dBZ.
        assert calibration.rate_by_level()[level(23.0, seen)] == pytest.approx(1.0, rel=0.03)
        assert np.diff(seen.dbz_by_level[1:]) == pytest.approx(1 / seen.levels_per_db)


def test_weakened_below_what_counts_is_dry():
    levels, _ = everywhere(5.0)  # 0.07 mm/h
    loss = np.zeros(levels.shape[1:])
    loss[:, 40:] = 5.0
    SEEN.weaken(levels, loss)
    assert bool((levels[:, :, :40] == level(5.0)).all()) and not levels[:, :, 40:].any()
    faint = np.full_like(levels, level(float(USUAL.dbz_from_rate(FAINTEST_MM_H / 2))))
    kept = faint.copy()
    SEEN.weaken(faint, np.zeros(levels.shape[1:]))
    assert np.array_equal(faint, kept)  # what is not weakened stays


@pytest.mark.parametrize("classes", [8, 14])
def test_classes_are_few_and_near_the_truth(classes: int, monkeypatch: pytest.MonkeyPatch):
    fix(monkeypatch, appearance, CLASSES=(classes,))
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    width = 53 / (classes - 1)
    lower, middle = 0, 0
    for seed in SEEDS:
        found = changed(appearance.classify, levels, levels > 0, seed).ravel()
        assert len(np.unique(found[found > 0])) == classes
        assert bool((np.diff(found.astype(int)) >= 0).all())
        off = SEEN.dbz_by_level[found[found > 0]] - SEEN.dbz_by_level[found > 0]
        below_the_top = SEEN.dbz_by_level[found > 0] < 58
        assert np.abs(off[below_the_top]).max() < 1.6 * width + 0.3
        lower += bool(off.max() < 0.2)
        middle += bool(off.max() > 0.2 * width)
        assert abs(SEEN.dbz_by_level[found > 0].min() - 7) < 0.3 * width + 0.5
    assert lower + middle == len(SEEDS) and lower > 2 and middle > 2


def test_column_maxima_are_an_offset_and_at_times_wider():
    levels, mask = rain()
    wet = ndimage.minimum_filter(levels, size=(1, 5, 5)) > 0
    offsets, wider = [], 0
    for seed in range(40):
        found = changed(appearance.take_column_maxima, levels, mask, seed)
        both = wet & (found < 255)
        table = SEEN.dbz_by_level
        if np.array_equal(found > 0, levels > 0):
            offset = table[found[both]] - table[levels[both]]
            assert np.ptp(offset) < 0.3
            offsets.append(offset.mean())
        else:
            wider += 1
            least = found[mask].min(initial=255, where=found[mask] > 0)
            assert least >= level(2.0)
            grown = ndimage.maximum_filter(levels, size=(1, 3, 3)) * mask
            assert np.array_equal(found > 0, grown > 0)
            assert np.ptp(table[found[both]] - table[grown[both]]) < 0.3
    assert 6 < wider < 22
    assert -3.2 < min(offsets) < -1 and 4 < max(offsets) < 6.2


def test_faded_rain_is_an_offset():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    offsets = []
    for seed in range(40):
        found = changed(appearance.fade, levels, levels > 0, seed)
        both = found > 0
        offset = SEEN.dbz_by_level[found[both]] - SEEN.dbz_by_level[levels[both]]
        assert np.ptp(offset) < 0.3 and not found[levels < 10].any()
        offsets.append(offset.mean())
    assert -25.2 < min(offsets) < -20 and -9 < max(offsets) < -4.8


def test_the_floor_is_faint_stays_where_it_is_and_leaves_rain_above_it():
    before, mask = rain(8)
    shares = []
    for seed in range(20):
        found = changed(appearance.raise_the_floor, before, mask, seed)
        added = found != before
        assert bool((found >= before).all()) and not found[~mask].any()
        assert added.any() and found[added].max() < level(22.0)
        often = (added & (before == 0)).mean(0)
        assert often[often > 0].mean() > 0.6  # in most of the frames, where it is at all
        shares.append((found[mask & (before == 0)] > 0).mean())
    assert min(shares) < 0.35 and max(shares) > 0.65


def test_faint_echo_is_dry_and_the_strongest_cut_off():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    least, most = [], []
    for seed in range(40):
        found = changed(appearance.limit_the_range, levels, levels > 0, seed)
        kept = found > 0
        least.append(SEEN.dbz_by_level[levels[kept].min()])
        most.append(SEEN.dbz_by_level[found.max()])
        between = kept & (levels < found.max())
        assert np.array_equal(found[between], levels[between])
    assert 5 <= min(least) < 8 and 12 < max(least) < 15.5
    saturated = [limit for limit in most if limit < SEEN.dbz_by_level[255]]
    assert 10 < len(saturated) < 30 and min(saturated) > 49.5 and max(saturated) < 60.5


def test_noise_is_normal_in_db_and_new_in_every_frame():
    levels, mask = everywhere(30.0)
    spreads = []
    for seed in range(30):
        noise = lost_db(appearance.add_noise, levels, mask, seed)
        assert abs(noise.mean()) < 0.1
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.08
        assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.08
        spreads.append(noise.std())
    assert 0.45 < min(spreads) < 0.8 and 1.7 < max(spreads) < 2.1
    strongest = changed(appearance.add_noise, *everywhere(60.0))  # no overflow
    assert strongest.min() > level(50.0)


def test_flicker_shows_one_of_nine_pixels():
    before = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 256), 40))[: 2 * 64 * 64]
    levels = before.astype(np.uint8).reshape(2, 64, 64)
    wider = np.pad(levels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    shares = []
    for seed in range(20):
        found = changed(appearance.flicker, levels, levels > 0, seed)
        shown = [
            found == wider[:, row : row + 64, column : column + 64]
            for row in range(3)
            for column in range(3)
        ]
        assert bool(np.any(shown, axis=0).all())
        assert all(each[:, 1:-1, 1:-1].mean() > 0.015 for each in shown[:4] + shown[5:])
        assert not np.array_equal(shown[4][0], shown[4][1])
        shares.append(1 - shown[4].mean())
    assert 0.18 < min(shares) < 0.45 and 0.7 < max(shares) <= 1


def test_attenuation_is_the_sum_along_the_beam(monkeypatch: pytest.MonkeyPatch):
    fix(monkeypatch, beams, RADAR_AT=MIDDLE, ATTENUATION_A=(1e-4, 1e-4))
    distance, _ = beams.range_and_azimuth((161, 161), (80.5, 80.5))
    wall = (distance >= 30) & (distance < 40)
    levels, mask = everywhere(np.where(wall, 50.0, 20.0), side=161)
    lost = lost_db(beams.attenuate, levels, mask)
    # 2 a Z^b = 2 * 1e-4 * 10^3.5 = 0.632 dB/km through 10 km; 0.005 dB/km through the rest.
    behind = lost[:, (distance > 43) & (distance < 75)]
    assert behind.mean() == pytest.approx(6.32 + 0.005 * 49, abs=0.2)
    assert np.abs(behind - behind.mean()).max() < 1  # the wall has a pixel more or less
    assert lost[:, distance < 28].max() < 0.3
    fix(monkeypatch, beams, ATTENUATION_A=(1e-3, 1e-3))
    beyond = changed(beams.attenuate, *everywhere(np.where(wall, 50.0, 40.0), side=161))
    least = SEEN.dbz_by_level[beyond[:, distance > 43]].min()
    assert least == pytest.approx(40 - beams.MOST_ATTENUATION_DB, abs=0.3)


def test_attenuation_from_outside_the_frame_grows_away_from_the_radar(
    monkeypatch: pytest.MonkeyPatch,
):
    fix(monkeypatch, beams, _place=lambda rng, levels: (-20.0, 30.0), ATTENUATION_A=(1e-4, 1e-4))
    lost = lost_db(beams.attenuate, *everywhere(40.0))[0]
    assert lost[0, 30] < 0.3 and lost[0, 29] == pytest.approx(lost[0, 31], abs=0.01)
    assert lost[-1, 30] == pytest.approx(0.126 * 80, rel=0.04)  # 2 * 1e-4 * 10^2.8 dB/km
    assert bool((np.diff(lost[:, 30]) > -0.3).all())


def test_far_echo_is_weaker_and_faint_echo_is_lost(monkeypatch: pytest.MonkeyPatch):
    fix(
        monkeypatch,
        beams,
        RADAR_AT=MIDDLE,
        FARTHEST_LOSS_DB=(8, 8),
        FARTHEST_DETECTABLE_DBZ=(12, 12),
    )
    distance, _ = beams.range_and_azimuth((81, 81), (40.5, 40.5))
    share = distance / distance.max()
    lost = lost_db(beams.lose_with_range, *everywhere(45.0))
    assert np.abs(lost - 8 * share**2).max() < 0.3
    kept = changed(beams.lose_with_range, *everywhere(10.0))[0] > 0
    # 10 - 8 s^2 = 12 + 20 log10 s at s = 0.58
    assert bool(kept[share < 0.56].all()) and not kept[share > 0.6].any()


def test_blocked_sectors_are_weaker_or_empty_beyond_a_range(monkeypatch: pytest.MonkeyPatch):
    fix(monkeypatch, beams, RADAR_AT=MIDDLE, SECTORS=1)
    distance, azimuth = beams.range_and_azimuth((81, 81), (40.5, 40.5))
    levels, mask = everywhere(45.0)
    empty = 0
    for seed in range(30):
        found = changed(beams.block_beams, levels, mask, seed)
        blocked = found[0] != levels[0]
        assert blocked.any() and blocked.mean() < 0.1
        mean = np.angle(np.exp(1j * azimuth[blocked]).mean())
        aside = np.abs(np.angle(np.exp(1j * (azimuth - mean))))
        assert aside[blocked & (distance > 10)].max() < np.deg2rad(25 / 2 + 4)
        behind = aside[blocked & (distance > 10)].min() < np.deg2rad(3)
        assert behind
        (left,) = np.unique(found[0, blocked])
        empty += left == 0
        if left:
            assert 2.8 < 45 - SEEN.dbz_by_level[left] < 20.2
    assert 4 < empty < 17


def test_a_circle_is_covered():
    levels = np.full((2, 60, 240), 100, dtype=np.uint8)
    across = []
    for seed in SEEDS:
        found, valid = levels.copy(), levels > 0
        beams.cover_a_circle(found, valid, np.random.default_rng(seed), SEEN)
        assert np.array_equal(found > 0, valid) and np.array_equal(valid[0], valid[1])
        columns = np.flatnonzero(valid[0].any(0))
        across.append(len(columns) / 60)
        assert 0.34 < columns.mean() / 240 < 0.66
    assert 0.66 < min(across) < 0.9 and 1.1 < max(across) < 1.42
