"""Synthetic rain is an archive like any other, the same for a seed, and behaves like rain."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.preparation.info import ArchiveInfo, archive_info
from nowcast.precipitation.synthetic.archive import write_synthetic
from nowcast.precipitation.units import PIXEL_LEVELS, dbz_from_pixel

SIDE = 64


@pytest.fixture(scope="module")
def archive(synthetic: Path) -> Archive:
    return Archive(synthetic)


@pytest.fixture(scope="module")
def levels(archive: Archive) -> np.ndarray:
    return np.stack([archive.frame(moment) for moment in archive.moments])


@pytest.fixture(scope="module")
def info(archive: Archive) -> ArchiveInfo:
    return archive_info(archive, max_frames=1000)


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_seed_gives_the_same_bytes_and_another_seed_gives_other_rain(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        write_synthetic(tmp_path / name, days=3, seed=seed, height=24, width=32, step_minutes=30)
    one, again, other = (digest(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys()
    same = [name for name in one if name.endswith(".png") and one[name] == other[name]]
    assert not same  # the clutter alone differs in every frame


def test_a_day_does_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    for days in (3, 4):
        write_synthetic(tmp_path / str(days), days=days, height=16, width=16, step_minutes=60)
    three, four = (digest(tmp_path / str(days)) for days in (3, 4))
    frames = [name for name in three if name.startswith("radarPNG/")]
    assert frames and all(three[name] == four[name] for name in frames)


def test_days_follow_each_other_and_belong_to_one_split(archive: Archive, tmp_path: Path) -> None:
    assert {split: list(days) for split, days in archive.days.items()} == {
        "train": ["20200601"],
        "valid": ["20200602"],
        "test": ["20200603"],
    }
    assert all(depth > 0 for days in archive.days.values() for depth in days.values())
    write_synthetic(tmp_path / "a", days=12, height=16, width=16, step_minutes=60)
    days = Archive(tmp_path / "a").days
    assert [len(days[split]) for split in ("train", "valid", "test")] == [8, 2, 2]
    assert max(days["train"]) < min(days["valid"]) <= max(days["valid"]) < min(days["test"])


def test_the_depth_in_the_lists_is_what_the_usable_pixels_hold(
    archive: Archive, levels: np.ndarray
) -> None:
    test_day = levels[np.isin(archive.moments, archive.moments_of("test"))]
    rate = archive.calibration.rate_from_pixel(test_day[:, archive.usable] / PIXEL_LEVELS)
    depth = rate.mean(axis=1).sum() * archive.description.step_minutes / 60
    assert archive.days["test"]["20200603"] == pytest.approx(depth, abs=0.051)


def test_a_few_frames_are_missing_one_or_two_in_a_row(archive: Archive) -> None:
    steps = np.rint(np.diff(archive.moments) / archive.step).astype(int)
    assert sorted(set(steps)) == [1, 2, 3]
    assert (steps == 2).sum() == 2
    assert (steps == 3).sum() == 1
    assert len(archive.moments) == 3 * 240 - 4


def test_clutter_stands_in_the_frames_and_is_masked(archive: Archive, levels: np.ndarray) -> None:
    persistent = (levels > 0).mean(axis=0) > 0.95
    assert persistent.sum() > 50
    assert not (persistent & archive.usable).any()
    rows, columns = np.nonzero(persistent)
    distance = np.hypot(rows - (SIDE - 1) / 2, columns - (SIDE - 1) / 2)
    assert distance.max() - distance.min() <= 2.0


def test_the_blocked_sector_is_pixel_0_and_masked(archive: Archive, levels: np.ndarray) -> None:
    never = (levels == 0).all(axis=0)
    assert never.sum() > 0.02 * never.size
    assert not (never & archive.usable).any()


def test_every_mask_is_the_exclude_mask(archive: Archive) -> None:
    for moment in archive.moments[::50]:
        np.testing.assert_array_equal(archive.mask(moment), archive.usable)


def test_cells_reach_50_dbz_and_do_not_saturate(archive: Archive, levels: np.ndarray) -> None:
    largest = dbz_from_pixel(levels[:, archive.usable].max() / PIXEL_LEVELS)
    assert 50 <= largest < 60


def test_there_are_dry_spells_and_wet_spells(archive: Archive, levels: np.ndarray) -> None:
    rate = archive.calibration.rate_by_level()
    wet = (rate[levels] >= 0.5)[:, archive.usable].mean(axis=1)
    dry, rainy = wet < 0.001, wet > 0.2
    assert 0.1 < dry.mean() < 0.8
    assert rainy.mean() > 0.05
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], dry, [0]]))))[::2]
    assert runs.max() >= 10  # an hour
    midnight = archive.moments.astype("datetime64[D]") == archive.moments
    assert dry[midnight].all()  # no event reaches into another split


def test_rain_moves_at_the_speed_of_weather(info: ArchiveInfo) -> None:
    assert info.speed_px is not None
    km_h = info.speed_px * 60 / info.step_minutes
    assert 15 < km_h < 70


def test_rain_has_the_spectrum_and_the_memory_of_rain(info: ArchiveInfo) -> None:
    assert info.slope is not None and -3.6 < info.slope < -2.0
    assert info.decorrelation_minutes is not None and 9 < info.decorrelation_minutes < 90


def test_rain_rates_are_skewed_as_those_of_rain(info: ArchiveInfo) -> None:
    assert info.wet_quantiles_mm_h is not None
    median, high, higher, _ = info.wet_quantiles_mm_h
    assert 0.8 < median < 3
    assert 2 < high / median < 8
    assert 5 < higher / median < 40


def test_other_sizes_and_steps(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_synthetic(
        tmp_path / "wide",
        days=3,
        height=20,
        width=48,
        step_minutes=10,
        progress=lambda done, total: seen.append((done, total)),
    )
    archive = Archive(tmp_path / "wide")
    assert archive.frame(archive.moments[0]).shape == (20, 48)
    assert int(archive.step.astype(int)) == 10
    assert seen[-1] == (len(archive.moments), len(archive.moments)) == (428, 428)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"days": 2}, "days"),
        ({"seed": -1}, "seed"),
        ({"height": 8}, "height"),
        ({"step_minutes": 7}, "step_minutes"),
        ({"step_minutes": 120}, "step_minutes"),
    ],
)
def test_arguments_out_of_range_are_named(
    arguments: dict[str, int], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        write_synthetic(tmp_path / "archive", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "archive").exists()
