"""A description gives the side of a pixel in km, where it states a grid; what is wrong is said."""

import pytest

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.description import Description, Grid


def described(grid: Grid | None) -> Description:
    return Description("tiny", "made by the tests", 5, 8, 8, 200.0, 1.6, grid=grid)


@pytest.mark.parametrize(
    ("projection", "pixel", "km"),
    [
        ("+proj=stere +lat_0=90 +units=km", 1.0, 1.0),
        ("+proj=stere +lat_0=90 +a=6378.137 +b=6356.752", 1.0, 1.0),
        ("+proj=laea +lat_0=55 +units=m", 2000.0, 2.0),
        ("+proj=laea +lat_0=55 +to_meter=1000", 2.0, 2.0),
        ("+proj=somerc +lat_0=46.95", 1000.0, 1.0),
        ("+proj=longlat +ellps=IAU76", 0.01, 1.106),
        ("+proj=lonlat +ellps=IAU76", 0.01, 1.106),
        ("EPSG:4326", 0.01, 1.106),
    ],
)
def test_pixels_in_km(projection: str, pixel: float, km: float):
    grid = Grid(projection, 0.0, 0.0, pixel, pixel)
    assert described(grid).km_per_pixel == pytest.approx(km, rel=1e-3)
    assert described(grid).grid_fault is None


def test_without_a_grid_there_is_no_size():
    assert described(None).km_per_pixel is None and described(None).grid_fault is None


def test_an_impossible_size_is_said_with_the_next_move():
    wrong = described(Grid("+proj=laea +lat_0=55", 0.0, 0.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"found 0\.001 x 0\.001 km") as caught:
        _ = wrong.pixel_km
    assert wrong.km_per_pixel is None
    assert "Correct grid in archive.json" in str(caught.value)
    assert wrong.grid_fault == str(caught.value)
