"""What is taken for an outage of a radar, and what is weather."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.precipitation.forecasting.outages import (
    STRONG_MM_H,
    WEAK_MM_H,
    Outages,
    find_outages,
    reach_px,
)

SIDE = 120
REACH = 8
Frames = NDArray[np.float64]


def rain(count: int = 8, peak: float = 8.0, speed: float = 3.0) -> Frames:
    """Rain in mm/h: cells with drizzle around them, moving to the right."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    cells = [(*rng.uniform(10, SIDE - 10, 2), rng.uniform(5, 9)) for _ in range(14)]
    found = []
    for time in range(count):
        frame = np.zeros((SIDE, SIDE))
        for row, column, width in cells:
            away = (rows - row) ** 2 + (columns - column - speed * time) ** 2
            frame += peak * np.exp(-away / (2 * width**2))
        found.append(np.where(frame < 0.1, 0.0, frame))
    return np.stack(found)


def found_in(frames: Frames, mask: NDArray[np.bool_] | None = None) -> Outages:
    valid = np.ones(frames.shape, dtype=bool) if mask is None else mask
    return find_outages(frames, valid, WEAK_MM_H, STRONG_MM_H, REACH)


@pytest.mark.parametrize(
    "dry",
    [[4], [4, 5], [7], [0], [0, 1, 2, 3, 4, 5, 6], [2, 5]],
    ids=["middle", "two", "newest", "oldest", "all but the newest", "now and then"],
)
def test_dry_frames_among_wet_ones_are_suspect(dry: list[int]):
    frames = rain()
    frames[dry] = 0
    found = found_in(frames)
    assert list(found.frames) == dry and not found.parts
    assert "outage" in found.frames[dry[0]]
    kept = found.mask(np.ones(frames.shape, dtype=bool))
    assert kept.any(axis=(1, 2)).tolist() == [time not in dry for time in range(8)]


def areas() -> dict[str, NDArray[np.bool_]]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle = np.arctan2(rows - SIDE / 2, columns - SIDE / 2)
    return {
        "upper half": rows < SIDE / 2,
        "left half": columns < SIDE / 2,
        "sector": (angle > 0) & (angle < np.pi / 2),
        "block": (abs(rows - 60) < 30) & (abs(columns - 60) < 30),
    }


@pytest.mark.parametrize("name", list(areas()))
@pytest.mark.parametrize("times", [[6], [5, 6], [7], [0, 1, 2, 3, 4, 5, 6]])
def test_a_part_that_comes_dry_is_suspect(name: str, times: list[int]):
    area, whole = areas()[name], rain()
    frames = whole.copy()
    for time in times:
        frames[time, area] = 0
    found = found_in(frames)
    assert list(found.parts) == times and not found.frames
    for part in found.parts.values():
        lost = (whole[times[0]] >= STRONG_MM_H) & area
        assert part[lost].mean() > 0.7  # most of what is missing
    mask = found.mask(np.ones(frames.shape, dtype=bool))
    assert mask[frames >= WEAK_MM_H].all()  # no rain is masked
    untouched = [time for time in range(8) if time not in times]
    assert mask[untouched].all()


def test_frames_that_stand_still_while_it_rains_are_suspect():
    frames = rain()
    frames[3] = frames[2]
    frames[7] = frames[6]
    found = found_in(frames)
    assert list(found.frames) == [3, 7] and not found.parts
    assert "stands still" in found.frames[3]
    frames[3, 50:60, 50:60] += 1  # the rest of a mosaic that is renewed in parts
    assert list(found_in(frames).frames) == [7]


def onset() -> Frames:
    frames = rain()
    for time in range(8):
        frames[time] *= (time / 7) ** 2
    return np.where(frames < 0.1, 0.0, frames)


def entering(speed: float) -> Frames:
    """A front that comes in from the left."""
    frames = np.zeros((8, SIDE, SIDE))
    for time in range(8):
        frames[time, :, : int(speed * time)] = 6.0 + time
    return frames


def showers() -> Frames:
    """Small ones that come and go."""
    rng = np.random.default_rng(2)
    frames = np.zeros((8, SIDE, SIDE))
    for frame in frames:
        for row, column in rng.integers(0, SIDE - 4, (6, 2)):
            frame[row : row + 3, column : column + 3] = rng.uniform(0.5, 20)
    return frames


def drizzle() -> Frames:
    rng = np.random.default_rng(3)
    frames = rng.uniform(0.1, 0.45, (8, SIDE, SIDE))
    frames[3] = frames[6] = 0
    return frames


@pytest.mark.parametrize(
    "frames",
    [
        rain(),
        rain(speed=7.5),
        onset(),
        onset()[::-1],
        entering(7.0),
        entering(7.0)[::-1],
        showers(),
        drizzle(),
        np.zeros((8, SIDE, SIDE)),
        np.zeros((4, 1, 1)),
        rain()[:1],
    ],
    ids=[
        *("moving", "fast", "onset", "decay", "entering", "leaving", "showers", "drizzle"),
        *("dry", "one pixel", "one frame"),
    ],
)
def test_weather_is_left_alone(frames: Frames):
    assert not found_in(frames)


def test_dry_frames_that_stay_the_same_are_no_frozen_feed():
    frames = np.zeros((6, SIDE, SIDE))
    frames[:, 5, 5] = 3.0  # one pixel of clutter
    assert not found_in(frames)


def test_an_outage_is_over_where_it_rains_again_however_far_rain_may_move():
    frames = rain(speed=2.0)
    frames[4] = 0
    found = find_outages(frames, np.ones(frames.shape, bool), WEAK_MM_H, STRONG_MM_H, 25)
    assert list(found.frames) == [4] and not found.parts


def test_what_is_no_data_is_neither_dry_nor_wet():
    frames = rain()
    frames[4] = 0
    mask = np.ones(frames.shape, dtype=bool)
    mask[4] = False  # stated as missing
    assert not found_in(frames, mask)
    mask[:, :, 60:] = False
    assert list(found_in(np.where(mask, frames, 0), mask).frames) == []
    mask[4, :, :60] = True
    assert list(found_in(frames, mask).frames) == [4]


def test_levels_are_checked_like_rates():
    frames = (rain() * 20).clip(0, 255).astype(np.uint8)
    frames[4] = 0
    found = find_outages(frames, np.ones(frames.shape, dtype=bool), 2.0, 10.0, REACH)
    assert list(found.frames) == [4]


def test_how_far_rain_moves():
    assert reach_px(5) == reach_px(5, 1.0) == 10
    assert reach_px(5, 0.5) == 19
    assert reach_px(15) == 28
    assert reach_px(2, 4.0) == 4
