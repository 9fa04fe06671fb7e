"""What a netCDF file of ours holds, and how it is written: importing xarray takes as long as a
forecast, so only who asks for an xarray object waits for it.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import h5netcdf
import numpy as np

from nowcast.precipitation.forecasting.products.georeference import Attributes

Variables = dict[str, tuple[tuple[str, ...], np.ndarray, Attributes]]  # as xarray takes them

FIELD = ("time", "y", "x")
FILL = np.float32(-9999.0)
TIME_UNITS = "minutes since 1970-01-01"  # 32 bits of minutes last until 6053
GRID_MAPPING = "crs"

_CLOCK: Mapping[str, Any] = {
    "units": TIME_UNITS,
    "calendar": "standard",
    "dtype": np.dtype(np.int32),
    "_FillValue": None,
}


class Content(NamedTuple):
    """Variables and coordinates by name, with the attributes of the whole."""

    variables: Variables
    coordinates: Variables
    attributes: Attributes

    @property
    def all(self) -> Variables:
        """Variables, then coordinates."""
        return {**self.variables, **self.coordinates}

    def encoding(self, name: str) -> dict[str, Any]:
        """How a variable is stored, in the words of xarray: times in whole minutes, a field of
        pixels packed, in a chunk a frame."""
        dimensions, values, _ = self.all[name]
        if values.dtype.kind == "M":
            return dict(_CLOCK)
        if dimensions[-2:] != FIELD[1:]:
            return {"_FillValue": None}
        return {
            "_FillValue": FILL,
            "chunksizes": (1,) * (values.ndim - 2) + values.shape[-2:],
            "zlib": True,
            "complevel": 4,
            "shuffle": True,
        }


def on_map(variables: Variables, mapping: Attributes | None) -> Variables:
    """The variables, those of pixels with the grid mapping, and that itself; None: there is none.

    A variable of pixels names it, so they are changed.
    """
    if mapping is None:
        return variables
    for dimensions, _, attributes in variables.values():
        if dimensions[-2:] == FIELD[1:]:
            attributes["grid_mapping"] = GRID_MAPPING
    return {**variables, GRID_MAPPING: ((), np.array(0, np.int32), mapping)}


def save(content: Content, path: Path) -> None:
    """Write netCDF-4, classic model, as xarray writes the Dataset of the same content.

    It is made in memory: HDF5 that meets a full disk brings the process down some time later.
    """
    image = BytesIO()
    with h5netcdf.File(image, "w", format="NETCDF4_CLASSIC") as file:
        for dimensions, values, _ in content.all.values():
            for name, size in zip(dimensions, values.shape, strict=True):
                if name not in file.dimensions:
                    file.dimensions[name] = size
        for name in content.all:
            _add(file, name, content)
        _state(file, content.attributes)
    path.write_bytes(image.getbuffer())


def _add(file: h5netcdf.File, name: str, content: Content) -> None:
    dimensions, values, attributes = content.all[name]
    encoding = content.encoding(name)
    fill = encoding["_FillValue"]
    if fill is not None:
        values = np.where(np.isnan(values), fill, values)
    is_bounds = any(name == own.get("bounds") for _, _, own in content.all.values())
    if values.dtype.kind == "M":
        values = values.astype("datetime64[m]").astype(encoding["dtype"])
        clock = {} if is_bounds else {key: encoding[key] for key in ("units", "calendar")}
        attributes = {**attributes, **clock}
    packing = {}
    if encoding.get("zlib"):
        packing = {
            "chunks": encoding["chunksizes"],
            "compression": "gzip",
            "compression_opts": encoding["complevel"],
            "shuffle": encoding["shuffle"],
        }
    made = file.create_variable(name, dimensions, values.dtype, fillvalue=fill, **packing)
    made[...] = values
    beside = _located_by(name, dimensions, content)
    _state(made, {**attributes, **({"coordinates": beside} if beside else {})})


def _located_by(name: str, dimensions: tuple[str, ...], content: Content) -> str:
    """CF's ``coordinates``: those that are no dimension and lie along dimensions of a variable."""
    if name in content.coordinates or name == GRID_MAPPING:
        return ""
    return " ".join(
        sorted(
            other
            for other, (along, _, _) in content.coordinates.items()
            if along != (other,) and set(along) <= set(dimensions)
        )
    )


def _state(owner: Any, attributes: dict[str, Any]) -> None:
    """Text that is ASCII as such, which older readers expect; the rest as UTF-8."""
    for key, value in attributes.items():
        is_ascii = isinstance(value, str) and value.isascii()
        owner.attrs[key] = np.bytes_(value) if is_ascii else value
