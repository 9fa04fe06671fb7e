"""A description gives the side of a pixel in km, where it states a grid."""

import pytest

from nowcast.precipitation.description import Description, Grid


@pytest.mark.parametrize(
    ("projection", "pixel", "km"),
    [
        ("+proj=stere +lat_0=90 +units=km", 1.0, 1.0),
        ("+proj=laea +lat_0=55 +units=m", 2000.0, 2.0),
        ("+proj=somerc +lat_0=46.95", 1000.0, 1.0),
        ("+proj=longlat +ellps=IAU76", 0.01, 1.112),
    ],
)
def test_pixels_in_km(projection: str, pixel: float, km: float):
    grid = Grid(projection, 0.0, 0.0, pixel, pixel)
    described = Description("tiny", "made by the tests", 5, 8, 8, 200.0, 1.6, grid=grid)
    assert described.km_per_pixel == pytest.approx(km)
    assert Description("tiny", "made by the tests", 5, 8, 8, 200.0, 1.6).km_per_pixel is None
