"""How an xarray object lay, so that what is forecast from it lies as it did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from nowcast.precipitation.sources.stack.xarray_object import XarrayRain

if TYPE_CHECKING:
    from xarray import DataArray, Dataset, Variable

CRS = "crs"  # the grid mapping of our own datasets


def is_labelled(data: Any) -> "TypeGuard[DataArray | Dataset]":
    """Whether it is an xarray object, without importing xarray for others."""
    kind = type(data)
    return kind.__module__.partition(".")[0] == "xarray" and hasattr(data, "coords")


@dataclass(frozen=True)
class Layout:
    """Names and directions of an xarray object.

    Args:
        dims: what it calls rows and columns.
        coordinates: its own, of rows and columns, by name.
        turned: whether its rows run north, and its columns west.
        mapping: its grid mapping variable by name; empty where it has none.
    """

    dims: tuple[str, str]
    coordinates: "Mapping[str, Variable]"
    turned: tuple[bool, bool]
    mapping: "Mapping[str, Variable]"

    @classmethod
    def of(cls, data: XarrayRain) -> "Layout":
        """That of what was read."""
        rows, columns = data.dims[1:]
        held = {
            name: data.array.coords[name].variable
            for name in data.dims[1:]
            if name in data.array.coords
        }
        return cls(
            (rows, columns), held, (data.place.south_first, data.place.east_first), data.mapping
        )

    def restored(self, dataset: "Dataset") -> "Dataset":
        """A forecast (`products.dataset`) with the names, coordinates and directions of the object
        that it was made from."""
        turns = [slice(None, None, -1 if turned else 1) for turned in self.turned]
        found = dataset.isel(y=turns[0], x=turns[1])
        for old, new in zip(("y", "x"), self.dims, strict=True):
            stated = found[old].attrs
            if old != new:
                found = found.drop_vars(new, errors="ignore").rename({old: new})
            if new in self.coordinates:
                own = self.coordinates[new]
                found = found.assign_coords({new: (new, own.values, {**stated, **own.attrs})})
                found[new].encoding = {"_FillValue": None}
        return self._with_mapping(found)

    def _with_mapping(self, dataset: "Dataset") -> "Dataset":
        """With the grid mapping under its name, its attributes before ours."""
        if not self.mapping or CRS not in dataset:
            return dataset
        ((name, held),) = self.mapping.items()
        attributes = {**dataset[CRS].attrs, **held.attrs}
        found = dataset if name == CRS else dataset.rename({CRS: name})
        found[name].attrs = attributes
        for variable in found.variables.values():
            if variable.attrs.get("grid_mapping") == CRS:
                variable.attrs["grid_mapping"] = name
        return found
