"""The climates that synthetic weather comes from: what differs between a winter's and a squall's.

Lengths are in km and times in minutes, so a climate is the same on every grid and at every step.
"""

from dataclasses import dataclass

import numpy as np

from nowcast.core.errors import ConfigError

MANY = "many"  # each day has another climate


@dataclass(frozen=True)
class Climate:
    """What the weather of a day is drawn from; the defaults are a summer of all kinds of rain.

    A pair is the range of a uniform draw. The rain itself is made in `rain.Rain`.

    Args:
        spells: the least and most spells of rain a day.
        wet_threshold: standard deviations of the field above which it rains; per spell.
        convective: 0 widespread rain only, 1 cells mostly; per spell.
        speed_km_h: mean speed of the rain; per spell.
        outer_scale_km: the field's spectrum is level above this wavelength.
        field_slope: exponent of the spectrum below it; -3.5 is rougher than -4.
        elongation: length over width of the rain's bands; per day.
        band_turn_rad: standard deviation of the bands around the direction across the motion; None:
            they lie in any direction.
        memory_min_per_km: the time in which a wavelength forgets, per its length.
        edge_rise_dbz: gained at a rain area's edge.
        edge_width: of the edge, in standard deviations of the field; what is wide has drizzle.
        core_rise_dbz: gained per standard deviation of the field all the way inside.
        texture_dbz: standard deviation of what roughens a rain area's inside.
        cells_per_hour: born on 1000 km2, at the height of a spell that is all convective.
        birth_places: a cell that is born alone takes the wettest of so many places.
        clustered: share of cells born beside another one.
        cluster_km: standard deviation of their distance from it.
        line: how often further they lie along the rain's bands than across.
        cell_life_min: per cell; shorter than `rain.SHORTEST_DRY_MIN`.
        cell_peak_dbz: between these, most of them in the lower half.
        cell_radius_km: per cell.
    """

    spells: tuple[int, int] = (1, 3)
    wet_threshold: tuple[float, float] = (-0.5, 1.0)
    convective: tuple[float, float] = (0.0, 1.0)
    speed_km_h: tuple[float, float] = (20.0, 55.0)
    outer_scale_km: float = 160.0
    field_slope: float = -4.0
    elongation: tuple[float, float] = (1.0, 2.2)
    band_turn_rad: float | None = None
    memory_min_per_km: float = 5.0  # 24 km forget in two hours, 4 km in 20 minutes
    edge_rise_dbz: float = 16.0
    edge_width: float = 0.4
    core_rise_dbz: float = 4.0
    texture_dbz: float = 1.2
    cells_per_hour: float = 1.4
    birth_places: int = 6
    clustered: float = 0.6
    cluster_km: float = 7.0
    line: float = 1.0
    cell_life_min: tuple[float, float] = (25.0, 80.0)
    cell_peak_dbz: tuple[float, float] = (36.0, 60.0)
    cell_radius_km: tuple[float, float] = (1.5, 4.0)


# Set by hand so that `archive_info` comes near radar of the kind.
CLIMATES = {
    "mixed": Climate(),  # KNMI, MeteoSwiss and DWD radar, all days together
    "winter": Climate(  # KNMI, six winter evenings
        spells=(1, 2),
        wet_threshold=(-0.3, 0.8),
        convective=(0.0, 0.4),
        speed_km_h=(30.0, 80.0),
        outer_scale_km=300.0,
        field_slope=-3.5,
        memory_min_per_km=8.0,
        edge_rise_dbz=13.0,
        edge_width=0.8,
        core_rise_dbz=5.0,
        texture_dbz=2.0,
        cell_life_min=(20.0, 60.0),
        cell_peak_dbz=(22.0, 46.0),
    ),
    "fronts": Climate(  # KNMI in August 2010, DPC in the north of Italy
        spells=(1, 2),
        wet_threshold=(-1.4, 0.0),
        convective=(0.1, 0.5),
        speed_km_h=(20.0, 55.0),
        outer_scale_km=400.0,
        field_slope=-3.6,
        elongation=(2.5, 5.0),
        band_turn_rad=0.3,
        memory_min_per_km=8.0,
        edge_width=0.6,
        texture_dbz=2.5,
        birth_places=30,
        line=3.0,
        cell_peak_dbz=(32.0, 52.0),
    ),
    "embedded": Climate(  # DWD's east in August 2021
        wet_threshold=(-1.5, -0.5),
        convective=(0.4, 0.9),
        speed_km_h=(15.0, 45.0),
        outer_scale_km=300.0,
        field_slope=-3.6,
        memory_min_per_km=8.0,
        edge_width=0.6,
        core_rise_dbz=5.0,
        texture_dbz=2.5,
        cell_peak_dbz=(30.0, 48.0),
    ),
    "showers": Climate(  # DWD's convective days, MRMS in Florida
        wet_threshold=(0.4, 1.2),
        convective=(0.7, 1.0),
        speed_km_h=(8.0, 40.0),
        field_slope=-3.5,
        elongation=(1.0, 1.6),
        texture_dbz=2.5,
        birth_places=3,
        clustered=0.7,
        cell_life_min=(30.0, 85.0),
        cell_peak_dbz=(34.0, 58.0),
    ),
    "squalls": Climate(  # MRMS in Texas, and hail that its rates are capped at
        spells=(1, 2),
        wet_threshold=(0.0, 0.8),
        convective=(0.8, 1.0),
        speed_km_h=(25.0, 60.0),
        outer_scale_km=300.0,
        field_slope=-3.5,
        elongation=(3.0, 6.0),
        band_turn_rad=0.25,
        memory_min_per_km=8.0,
        core_rise_dbz=5.0,
        texture_dbz=2.5,
        cells_per_hour=1.0,
        birth_places=60,
        clustered=0.8,
        cluster_km=6.0,
        line=4.0,
        cell_life_min=(35.0, 85.0),
        cell_peak_dbz=(42.0, 63.0),
        cell_radius_km=(1.5, 4.5),
    ),
}


def climate_of(name: str, seed: int, day: int) -> str:
    """The name of a day's climate: `name`, or one of all where that is ``many``.

    Of ``many``, days take turns in an order drawn from `seed`, so a few days hold all of them.

    Raises:
        ConfigError: there is no such climate.
    """
    if name == MANY:
        turn, position = divmod(day, len(CLIMATES))
        order = np.random.default_rng((seed, 1 + turn, 2)).permutation(list(CLIMATES))
        return str(order[position])
    if name not in CLIMATES:
        raise ConfigError(f"climate: expected {', '.join(CLIMATES)} or {MANY}, found {name!r}")
    return name
