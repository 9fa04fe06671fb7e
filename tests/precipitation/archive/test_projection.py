"""The size of a pixel on the ground, whatever unit and form its projection is stated in."""

import pytest

from nowcast.precipitation.archive.projection import in_metres, pixel_km, read_projection

FOOT_KM = 1e-3 * 1200 / 3937  # the US survey foot
KNMI = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
LAEA = "+proj=laea +lat_0=55 +lon_0=10 +x_0=1950000 +y_0=-2100000 +ellps=WGS84"


def place(
    projection: str, x_west: float, y_north: float, pixel: float
) -> tuple[str, float, float, float, float]:
    return projection, float(x_west), float(y_north), float(pixel), float(pixel)


@pytest.mark.parametrize(
    ("projection", "x_west", "y_north", "pixel", "km"),
    [
        (KNMI, 0, -3650, 1, 1.0),
        (f"{KNMI} +units=km", 0, -3650, 1, 1.0),
        (f"{KNMI} +to_meter=1000", 0, -3650, 1, 1.0),
        (KNMI.replace("6378.137", "6378137").replace("6356.752", "6356752"), 0, -3.65e6, 1e3, 1.0),
        (f"{LAEA} +units=m", 0, 0, 2000, 2.0),
        (f"{LAEA} +to_meter=1000", 0, 0, 2, 2.0),
        (f"{LAEA} +units=us-ft", 0, 0, 5000, 5000 * FOOT_KM),
        (f"{LAEA} +units=us-ft", 0, 0, 1 / FOOT_KM, 1.0),
        ("EPSG:2263", 9e5, 2e5, 3000, 3000 * FOOT_KM),
        ("EPSG:2056", 2.5e6, 1.3e6, 1000, 1.0),
        ("EPSG:3995", -1e6, 1e6, 1000, 1.0),
        ("+proj=ortho +lat_0=50 +lon_0=10", -8e7, 8e7, 1e4, 10.0),
    ],
)
def test_a_pixel_of_a_map_has_the_size_that_its_unit_says(
    projection: str, x_west: float, y_north: float, pixel: float, km: float
):
    sides = pixel_km(*place(projection, x_west, y_north, pixel), 765, 700)
    assert sides == pytest.approx((km, km))


@pytest.mark.parametrize(
    "projection",
    ["EPSG:4326", "+proj=longlat", "+proj=lonlat", "+proj=latlong", "OGC:CRS84", "+init=epsg:4326"],
)
def test_degrees_are_km_at_the_grids_centre(projection: str):
    # 700 rows of 0.01 degrees from 55 N: the centre is at 51.5 N. On WGS84 a degree there has
    # 111.257 km of latitude and 69.440 of longitude.
    sides = pixel_km(*place(projection, 5, 55, 0.01), 700, 600)
    assert sides == pytest.approx((0.69440, 1.11257), rel=1e-4)


def test_other_angles_than_degrees():
    radar = pixel_km(*place("EPSG:4807", 2, 60, 0.01), 700, 600)  # grads: 400 to the circle
    assert radar[1] == pytest.approx(0.9 * 1.112, rel=5e-3)


def test_where_a_map_stretches_the_ground_the_ground_counts():
    # Web Mercator at 52 N: 1 / cos(52) map metres to one of the ground.
    sides = pixel_km(*place("EPSG:3857", 5e5, 6.8e6 + 5e4, 1000), 100, 100)
    assert sides == pytest.approx((0.616, 0.616), rel=0.01)


@pytest.mark.parametrize(
    ("projection", "pixel", "found"),
    [
        ("+proj=stere +lat_0=90", 1.0, "found 0.001 x 0.001 km"),
        ("+proj=laea +units=km", 1000.0, r"found 1e\+03 x 1e\+03 km"),
        ("EPSG:4326", 1e-5, "expected pixels of 0.05 to 100 km"),
        ("EPSG:5703", 1.0, "found 'EPSG:5703', a Vertical CRS"),
        ("+proj=nonsense", 1.0, "pyproj cannot read the projection '[+]proj=nonsense'"),
        ("", 1.0, "pyproj cannot read the projection ''"),
    ],
)
def test_what_no_radar_has_is_refused(projection: str, pixel: float, found: str):
    with pytest.raises(ValueError, match=found):
        pixel_km(*place(projection, 0, 0, pixel), 8, 8)


def test_metres_stated_as_degrees_lie_on_no_earth():
    with pytest.raises(ValueError, match="expected a grid in degrees, found its centre at 504000"):
        pixel_km(*place("EPSG:4326", 5e5, 6e6, 1000), 8, 8)


def test_an_earth_in_kilometres_is_read_as_the_earth():
    ellipsoid = read_projection(KNMI).ellipsoid
    assert ellipsoid is not None
    assert ellipsoid.semi_major_metre == pytest.approx(6378137)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("+proj=stere +a=6378.137 +x_0=2.5", "+proj=stere +a=6378137 +x_0=2500 +units=km"),
        ("+proj=stere +R=6371", "+proj=stere +R=6371000 +units=km"),
        ("+proj=stere +a=6378 +units=km +x_0=5", "+proj=stere +a=6378000 +units=km +x_0=5"),
        ("+proj=stere +R=6371 +to_meter=1000", "+proj=stere +R=6371000 +to_meter=1000"),
        ("+proj=stere +a=6378137 +no_defs", "+proj=stere +a=6378137 +no_defs"),
        ("+proj=stere +a=6378137 +units=km", "+proj=stere +a=6378137 +units=km"),
        ("+proj=longlat +ellps=WGS84", "+proj=longlat +ellps=WGS84"),
        ("EPSG:2056", "EPSG:2056"),
    ],
)
def test_an_earth_in_kilometres_is_one_in_metres(stated: str, expected: str):
    assert in_metres(stated) == expected
