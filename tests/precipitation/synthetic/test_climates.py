"""Climates differ as their kinds of rain do; grid and step change how rain is seen, not rain."""

from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from nowcast.cli.data import data_synth
from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.preparation.info import ArchiveInfo, archive_info
from nowcast.precipitation.synthetic.archive import write_synthetic
from nowcast.precipitation.synthetic.cells import FLOOR_DBZ
from nowcast.precipitation.synthetic.climates import CLIMATES, MANY, climate_of
from nowcast.precipitation.synthetic.rain import SHORTEST_DRY_MIN, Rain
from nowcast.precipitation.units import dbz_from_pixel


def info_of(root: Path, **options: object) -> ArchiveInfo:
    write_synthetic(root, days=3, seed=2, **options)  # type: ignore[arg-type]
    return archive_info(Archive(root), max_frames=1000)


@pytest.fixture(scope="module")
def infos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ArchiveInfo]:
    root = tmp_path_factory.mktemp("climates")
    size = {"height": 96, "width": 96, "step_minutes": 15}
    return {name: info_of(root / name, climate=name, **size) for name in CLIMATES}


def quantile(info: ArchiveInfo, number: int) -> float:
    assert info.wet_quantiles_mm_h is not None
    return info.wet_quantiles_mm_h[number]


def test_rain_rates_are_those_of_the_climate(infos: dict[str, ArchiveInfo]) -> None:
    median = {name: quantile(info, 0) for name, info in infos.items()}
    high = {name: quantile(info, 2) for name, info in infos.items()}
    assert min(median, key=median.__getitem__) == "winter" and median["winter"] < 1.2
    assert 3 < high["winter"] < 10
    assert high["winter"] < high["fronts"] < high["showers"] < high["squalls"]
    assert high["embedded"] < high["showers"]
    assert 50 < high["squalls"] < 250


def test_widespread_rain_covers_more_than_showers(infos: dict[str, ArchiveInfo]) -> None:
    assert infos["embedded"].wet_share > 2 * infos["showers"].wet_share
    assert infos["fronts"].wet_share > infos["showers"].wet_share


def test_squalls_pass_57_dbz_and_winter_stays_faint(infos: dict[str, ArchiveInfo]) -> None:
    assert infos["squalls"].max_mm_h > 333  # 57 dBZ: hail
    assert infos["winter"].max_mm_h < 60


def test_fronts_lie_across_their_motion() -> None:
    steeper = []
    for seed in range(8):
        rain = Rain(np.random.default_rng(seed), (96, 96), 10, CLIMATES["fronts"])
        down, right = np.gradient(rain.field)
        velocity = np.array(rain.spells[0].velocity_km_h)
        heading = velocity / np.hypot(*velocity)
        along = down * heading[0] + right * heading[1]
        across = down * heading[1] - right * heading[0]
        steeper.append(along.std() / across.std())
    assert np.median(steeper) > 1.5


def test_speed_and_memory_are_physical_on_every_grid_and_at_every_step(tmp_path: Path) -> None:
    settings = {"fine": (64, 1.0, 5), "coarse": (32, 2.0, 5), "rare": (64, 1.0, 10)}
    km_h, memory = {}, {}
    for name, (side, pixel_km, step) in settings.items():
        info = info_of(
            tmp_path / name, height=side, width=side, pixel_km=pixel_km, step_minutes=step
        )
        assert info.speed_px is not None and info.decorrelation_minutes is not None
        km_h[name] = info.speed_px * pixel_km * 60 / step
        memory[name] = info.decorrelation_minutes
    for name in ("coarse", "rare"):
        assert 0.7 < km_h[name] / km_h["fine"] < 1.4
        assert 0.6 < memory[name] / memory["fine"] < 1.7


@pytest.mark.parametrize("pixel_km", [0.5, 1.0, 3.75])
def test_an_archive_says_how_large_its_pixels_are(pixel_km: float, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "a", days=3, height=16, width=24, step_minutes=60, pixel_km=pixel_km)
    description = Archive(tmp_path / "a").description
    assert description.pixel_km == pytest.approx((pixel_km, pixel_km))


def test_a_large_pixel_holds_the_mean_z_of_its_parts() -> None:
    whole, parts = (
        Rain(np.random.default_rng(5), (side, side), 10, CLIMATES["showers"], pixel_km)
        for side, pixel_km in ((16, 4.0), (48, 4.0 / 3))
    )
    assert (whole.parts, parts.parts) == (3, 1)
    middle = int(whole.middles[0])
    for minute in range(middle, middle + 60, 10):
        coarse, fine = whole.advance(minute), parts.advance(minute)
        z = 10 ** (fine / 10)
        by_hand = [
            [z[row : row + 3, column : column + 3].mean() for column in range(0, 48, 3)]
            for row in range(0, 48, 3)
        ]
        np.testing.assert_allclose(coarse, 10 * np.log10(by_hand))
    assert coarse.max() > FLOOR_DBZ + 10
    assert fine.max() > coarse.max() + 1  # a core is smaller than a pixel of 4 km


def test_of_many_climates_each_has_its_day_and_the_archive_says_which(tmp_path: Path) -> None:
    order = [climate_of(MANY, 1, day) for day in range(12)]
    assert sorted(order[:6]) == sorted(order[6:]) == sorted(CLIMATES)
    assert order[:6] != [climate_of(MANY, 2, day) for day in range(6)]
    for name, climate in (("many", MANY), ("first", order[0])):
        write_synthetic(
            tmp_path / name, days=3, seed=1, height=16, width=16, step_minutes=60, climate=climate
        )
    many, first = Archive(tmp_path / "many"), Archive(tmp_path / "first")
    assert many.description.history == tuple(
        f"2020060{day + 1}: {name}" for day, name in enumerate(order[:3])
    )
    assert first.description.name == f"synthetic {order[0]}"
    for number, moment in enumerate(many.moments):
        same = np.array_equal(many.frame(moment), first.frame(moment))
        if number < 20:
            assert same  # the first day is the same rain
    assert not same


def test_midnight_is_dry_in_every_climate(tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "a", days=7, seed=3, height=32, width=32, step_minutes=10, climate=MANY
    )
    assert all(climate.cell_life_min[1] <= SHORTEST_DRY_MIN for climate in CLIMATES.values())
    archive = Archive(tmp_path / "a")
    midnight = archive.moments.astype("datetime64[D]") == archive.moments
    for moment in archive.moments[midnight]:
        wet = dbz_from_pixel(archive.frame(moment)[archive.usable] / 255) > FLOOR_DBZ
        assert not wet.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"climate": "monsoon"}, "climate: expected mixed, .* or many, found 'monsoon'"),
        ({"pixel_km": 0.1}, "pixel_km: expected 0.5 to 4 km, found 0.1"),
        ({"pixel_km": 10.0}, "pixel_km"),
        ({"pixel_km": float("nan")}, "pixel_km"),
    ],
)
def test_arguments_out_of_range_are_named(
    arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        write_synthetic(tmp_path / "archive", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "archive").exists()


def test_the_command_names_every_climate() -> None:
    hint = get_type_hints(data_synth, include_extras=True)["climate"]
    assert all(name in hint.__metadata__[0].help for name in (*CLIMATES, MANY))
