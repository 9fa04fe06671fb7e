"""Each kind of clutter is found on a frame made by hand, all of it and nothing else; rain stays."""

from pathlib import Path

import numpy as np
import pytest

from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.preparation.masking.declutter import Declutter
from nowcast.precipitation.synthetic.clutter import KINDS, Kind
from nowcast.precipitation.units import encode, pixel_from_dbz

SIDE = 128
MIDDLE = (SIDE - 1) / 2
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
DISTANCE = np.hypot(ROWS - MIDDLE, COLUMNS - MIDDLE)
AZIMUTH = np.arctan2(COLUMNS - MIDDLE, MIDDLE - ROWS) % (2 * np.pi)
EVERYWHERE = np.ones((SIDE, SIDE), dtype=bool)

WEAK, STRONG = 60, 140  # levels: 6 and 28 dBZ


def levels(where: np.ndarray, level: int = STRONG) -> np.ndarray:
    return np.where(where, level, 0).astype(np.uint8)


def ring(radius: float, width: float, distance: np.ndarray = DISTANCE) -> np.ndarray:
    return np.abs(distance - radius) <= width / 2


def spike(azimuth_deg: float, width_deg: float = 3.0, edge_dbz: float = 25.0) -> np.ndarray:
    """One power along a ray, as a radar shows it: Z grows with the square of the range."""
    aside = np.abs(np.angle(np.exp(1j * (AZIMUTH - np.deg2rad(azimuth_deg)))))
    within = aside <= np.maximum(np.deg2rad(width_deg) / 2, 0.5 / DISTANCE)
    dbz = edge_dbz + 20 * np.log10(DISTANCE / (SIDE / 2))
    return encode(np.where(within, pixel_from_dbz(dbz), 0.0))


def showers(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    field = np.zeros((SIDE, SIDE))
    for _ in range(30):
        row, column = rng.uniform(0, SIDE, 2)
        squared = (ROWS - row) ** 2 + (COLUMNS - column) ** 2
        cell = rng.uniform(100, 200) * np.exp(-squared / (2 * rng.uniform(2, 5) ** 2))
        field = np.maximum(field, cell)
    return levels(field >= WEAK, 1) * field.astype(np.uint8)


def find(
    frame: np.ndarray, usable: np.ndarray = EVERYWHERE, radar: tuple[float, float] | None = None
) -> dict[Kind, np.ndarray]:
    return Declutter(usable, radar).find(frame)


def assert_only(found: dict[Kind, np.ndarray], kind: Kind | None, where: np.ndarray) -> None:
    for other in KINDS:
        np.testing.assert_array_equal(found[other], where & (other == kind), err_msg=other)


@pytest.mark.parametrize("radius", [12.0, 25.3, 40.0, 60.0])
@pytest.mark.parametrize("width", [1.0, 1.5, 2.0])
def test_a_thin_ring_is_found_to_the_pixel(radius: float, width: float):
    where = ring(radius, width)
    assert_only(find(levels(where)), "ring", where)


@pytest.mark.parametrize("azimuth_deg", [0.0, 33.0, 114.5, 180.0, 270.0, 359.9])
def test_a_sun_spike_is_found_from_where_it_is_told_from_a_few_pixels(azimuth_deg: float):
    frame = spike(azimuth_deg)
    found = find(frame)
    far = (DISTANCE >= SIDE / 8) & (frame > 0)
    assert far.sum() > 50
    assert found["spike"][far].mean() > 0.75  # pixels at its sides are left, mostly as speckle
    assert np.any(list(found.values()), axis=0)[far].mean() > 0.9
    assert not np.any(list(found.values()), axis=0)[frame == 0].any()
    assert not found["ring"].any()


@pytest.mark.parametrize(
    "pixels",
    [
        [(20, 90)],
        [(20, 90), (21, 91)],
        [(20, 90), (20, 91), (21, 90), (21, 91)],
        [(0, 0)],
        [(SIDE - 1, 60), (SIDE - 1, 61)],
    ],
)
def test_a_speckle_of_up_to_four_pixels_is_found(pixels: list[tuple[int, int]]):
    frame = np.zeros((SIDE, SIDE), dtype=np.uint8)
    frame[tuple(np.transpose(pixels))] = STRONG
    assert_only(find(frame), "speckle", frame > 0)


def test_a_group_of_five_pixels_and_small_groups_in_a_crowd_are_rain():
    frame = np.zeros((SIDE, SIDE), dtype=np.uint8)
    frame[20, 30:35] = STRONG
    frame[80:92:3, 80:92:3] = WEAK  # sixteen pixels, three apart
    assert_only(find(frame), None, frame > 0)


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 45.0, 90.0])
@pytest.mark.parametrize("width", [3.0, 4.0, 6.0, 12.0])
def test_a_band_of_rain_survives_even_where_it_points_at_the_radar(width: float, angle_deg: float):
    angle = np.deg2rad(angle_deg)
    across = (COLUMNS - MIDDLE) * np.cos(angle) + (ROWS - MIDDLE) * np.sin(angle)
    for aside in (0.0, 20.0):
        where = np.abs(across - aside) <= width / 2
        assert_only(find(levels(where)), None, where)


@pytest.mark.parametrize("seed", range(5))
def test_showers_survive(seed: int):
    frame = showers(seed)
    assert 0.05 < (frame > 0).mean() < 0.6
    assert not any(where.any() for where in find(frame).values())


def test_a_front_that_bends_around_the_radar_survives_if_thick_or_no_circle():
    thick = ring(30, 8)
    assert_only(find(levels(thick)), None, thick)
    half = ring(30, 1.5) & (np.pi > AZIMUTH)
    assert_only(find(levels(half)), None, half)


def test_ring_spike_and_speckle_are_told_apart_in_one_frame():
    around, ray = ring(40, 1.5), spike(60.0)
    frame = np.maximum(levels(around), ray)
    frame[100, 20] = STRONG
    found = find(frame)
    assert found["ring"][around & (ray == 0)].all()
    assert found["spike"][(ray > 0) & (DISTANCE > SIDE / 8) & ~ring(40, 6)].mean() > 0.9
    assert found["speckle"][100, 20]
    assert np.sum(list(found.values()), axis=0).max() == 1  # a pixel is of one kind at most


def test_a_ring_over_rain_is_found_where_it_stands_out_and_the_rain_stays():
    rain, around = (COLUMNS < SIDE // 2) & (ROWS < SIDE // 2), ring(40, 1.5)
    frame = np.maximum(levels(rain, WEAK), levels(around))
    assert_only(find(frame), "ring", around)
    strong_rain = np.maximum(levels(rain, STRONG - 10), levels(around))
    assert_only(find(strong_rain), "ring", around & ~rain)


def test_a_ring_around_a_radar_off_the_middle_is_found_where_its_place_is_said():
    radar = (50.0, 75.0)
    where = ring(30, 1.5, np.hypot(ROWS - radar[0], COLUMNS - radar[1]))
    assert_only(find(levels(where), radar=radar), "ring", where)
    assert not find(levels(where))["ring"].any()


def test_what_is_not_usable_neither_counts_nor_is_found():
    around = ring(40, 1.5)
    usable = ~((AZIMUTH > 1.0) & (AZIMUTH < 1.3) & (DISTANCE > 10))
    frame = levels(around)
    noise = np.random.default_rng(0).integers(0, 256, frame.shape, dtype=np.uint8)
    one = find(frame, usable)
    other = find(np.where(usable, frame, noise), usable)
    for kind in KINDS:
        np.testing.assert_array_equal(one[kind], other[kind])
    assert_only(one, "ring", around & usable)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_of_the_frame_turns_what_is_found(turns: int):
    frame = np.maximum(np.maximum(levels(ring(40, 1.5)), spike(30.0)), showers(1) // 2)
    here, there = find(frame), find(np.rot90(frame, turns).copy())
    for kind in KINDS:
        turned = np.rot90(here[kind], turns)
        # A pixel may lie between two rays and fall to the other.
        assert (turned != there[kind]).sum() <= 0.05 * max(20, turned.sum())


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (3, 5), (8, 8), (16, 40)])
@pytest.mark.parametrize("level", [0, 1, 255])
def test_nothing_is_found_in_a_frame_of_one_level_whatever_its_size(
    shape: tuple[int, int], level: int
):
    """Except that a few pixels are as small as a speckle."""
    found = find(np.full(shape, level, dtype=np.uint8), np.ones(shape, dtype=bool))
    small = level > 0 and np.prod(shape) <= 4
    assert found["speckle"].all() if small else not found["speckle"].any()
    assert not found["ring"].any() and not found["spike"].any()
    assert all(where.shape == shape for where in found.values())


def test_where_nothing_is_usable_nothing_is_found():
    assert_only(find(levels(ring(40, 1.5)), ~EVERYWHERE), None, EVERYWHERE)


def test_next_to_nothing_of_real_rain_is_taken_for_clutter(radar_dev: Path):
    """KNMI and MeteoSwiss frames, which their services have cleaned: what is found is rain lost."""
    archive = Archive(radar_dev)
    moments = archive.moments[::20]
    rate_mm_h = archive.calibration.rate_by_level()
    rate_mm_h[0] = 0.0
    for radar in (None, (120.0, 330.0)):  # whichever place is said
        declutter = Declutter(archive.usable, radar)
        depth = lost = 0.0
        for moment in moments:
            frame = archive.frame(moment)
            rate = np.where(archive.usable, rate_mm_h[frame], 0.0)
            depth += rate.sum()
            lost += rate[np.any(list(declutter.find(frame).values()), axis=0)].sum()
        assert depth > 0
        assert lost / depth < 0.001
