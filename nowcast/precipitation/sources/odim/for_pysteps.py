"""Our reader of ODIM-HDF5 as an importer of pysteps, which finds it by its entry point.

``pysteps.io.get_method("nowcast_odim", "importer")`` gives `import_nowcast_odim` wherever both
packages are installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nowcast.precipitation.archive.projection import read_projection
from nowcast.precipitation.sources.field import Field, Request
from nowcast.precipitation.sources.odim.reader import read_odim

UNITS = {"mm_h": "mm/h", "mm": "mm", "dBZ": "dBZ"}
DRY_BELOW_DB = 10.0  # under the least reflectivity of an image: what is dry there
DRY_DBZ = -32.0  # of an image that is dry


def import_nowcast_odim(
    filename: str | Path, unit: str | None = None, **others: Any
) -> tuple[Float[np.ndarray, "height width"], None, dict[str, Any]]:
    """Read one ODIM-HDF5 composite or image, as the importers of pysteps do.

    Args:
        filename: of the file.
        unit: of a file that holds several quantities: ``mm/h``, ``mm`` or ``dBZ``.
        others: keywords of pysteps' own importers, which are not needed: the file says it all.

    Returns:
        Values, row 0 north, NaN where there is no data; None, for there is no quality field; and
        pysteps' metadata.

    Raises:
        ConfigError, DataError: as `read_odim`.
    """
    del others
    (source,) = read_odim(Path(filename), Request(unit=unit))
    field = source.read(0)
    values, stated = np.array(field.values), _scale(field)
    if field.unit == "dBZ":
        values[values == -np.inf] = stated["zerovalue"]
    return values, None, {**stated, **_place(field)}


def _scale(field: Field) -> dict[str, Any]:
    is_dbz = field.unit == "dBZ"
    wet = field.values[np.isfinite(field.values) & (field.values > (-np.inf if is_dbz else 0))]
    least = float(wet.min()) if wet.size else (DRY_DBZ + DRY_BELOW_DB if is_dbz else 0.1)
    return {
        "unit": UNITS[field.unit],
        "transform": "dB" if is_dbz else None,
        "accutime": field.accumulation_minutes,
        "threshold": least,
        "zerovalue": least - DRY_BELOW_DB if is_dbz else 0.0,
        "institution": "stated in the file",
        "zr_a": None,
        "zr_b": None,
    }


def _place(field: Field) -> dict[str, Any]:
    grid, (height, width) = field.grid, field.values.shape
    if grid is None:
        return {"yorigin": "upper"}
    crs = read_projection(grid.projection)
    return {
        "projection": grid.projection,
        "cartesian_unit": crs.axis_info[0].unit_name.replace("metre", "m"),
        "x1": grid.x_west,
        "x2": grid.x_west + width * grid.pixel_x,
        "y1": grid.y_north - height * grid.pixel_y,
        "y2": grid.y_north,
        "xpixelsize": grid.pixel_x,
        "ypixelsize": grid.pixel_y,
        "yorigin": "upper",
    }
