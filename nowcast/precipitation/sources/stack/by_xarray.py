"""Stacks that are no HDF5, and single fields, as h5py would show them: netCDF-3 and Zarr by xarray.

What reads a stack (`packed`, `coordinates`, `place`, `times`) asks h5py's datasets and groups for a
handful of things; `Labelled` and `Holder` answer the same of what xarray opened, undecoded.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.raw_files import NETCDF_3, first_bytes, is_zarr
from nowcast.precipitation.sources.hdf5 import opened
from nowcast.precipitation.sources.measure import is_rain

EXPECTED = "a stack of frames"


class Labelled:
    """A variable of xarray's as an HDF5 dataset.

    Args:
        variable: undecoded.
        name: with a leading slash.
        holder: of it and those beside it.
        leads: an axis of one is put before its others: a field is a stack of one.
    """

    def __init__(self, variable: Any, name: str, holder: "Holder", leads: bool) -> None:
        self._variable, self.name, self._leads = variable, name, leads
        self.parent = self.file = holder
        self.attrs: Mapping[str, Any] = variable.attrs
        self.dtype: np.dtype[Any] = variable.dtype
        self.shape: tuple[int, ...] = (1,) * leads + variable.shape
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape))

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Of the file, as far as xarray tells."""
        stated = self._variable.encoding.get("chunks") or self._variable.encoding.get("chunksizes")
        return None if stated is None else (1,) * self._leads + tuple(stated)

    @property
    def dims(self) -> list[dict[str, "Labelled"]]:
        """The coordinate variable of each axis, where it has one."""
        found: list[dict[str, Labelled]] = [{}] if self._leads else []
        for name in map(str, self._variable.dims):
            item = self.file.get(name)
            found.append({} if item is None else {name: item})
        return found

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if self._leads:
            leading: NDArray[Any] = np.asarray(self._variable.values)[None]
            return np.asarray(leading[key])
        return np.asarray(self._variable[key].values)


class Holder:
    """A dataset of xarray's as an HDF5 file; fields and single times are stacks of one."""

    def __init__(self, dataset: Any, path: Path) -> None:
        self._dataset, self.filename, self.name = dataset, str(path), "/"
        self.attrs: Mapping[str, Any] = dataset.attrs
        self.file = self.parent = self
        self._flat = not any(_is_numeric(v) and v.ndim == 3 for v in dataset.variables.values())

    def keys(self) -> list[str]:
        """Names of the variables."""
        return list(map(str, self._dataset.variables))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return name.strip("/") in self._dataset.variables

    def __getitem__(self, name: str) -> Labelled:
        variable = self._dataset.variables[name.strip("/")]
        # Of a file with one field, its time has no axis; latitudes in two stay as they are.
        is_field = (
            self._flat and variable.ndim == 2 and is_rain(str(variable.attrs.get("units", "")))
        )
        leads = is_field or (variable.ndim == 0 and _is_numeric(variable) and "time" in name)
        return Labelled(variable, f"/{name.strip('/')}", self, leads)

    def get(self, name: str) -> Labelled | None:
        """A variable; None without."""
        return self[name] if name in self else None  # noqa: SIM401, this is the get


@contextmanager
def opened_stack(path: Path) -> Iterator[Any]:
    """A file of frames: HDF5 with a stack as h5py has it, all else as a `Holder`.

    Raises:
        ConfigError: Zarr without the package that reads it.
        DataError: it is damaged, or of another format.
    """
    if not (is_zarr(path) or _is_netcdf_3(path)):
        with opened(path, EXPECTED) as file:
            if not _is_single_field(file):
                yield file
                return
    try:
        with _dataset(path) as dataset:
            yield Holder(dataset, path)
    except NowcastError:
        raise
    except Exception as error:  # of half a dozen libraries
        raise DataError(
            f"{path}: expected {EXPECTED}, but it cannot be read ({type(error).__name__}: {error})"
            "; it is damaged, cut off or of another format: fetch it again, or remove it"
        ) from error


def _dataset(path: Path) -> Any:
    import xarray  # where it is needed: it takes a while

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e.g. of metadata that is not consolidated
        if not is_zarr(path):
            engine = "scipy" if _is_netcdf_3(path) else "h5netcdf"
            more: Any = {"phony_dims": "access"} if engine == "h5netcdf" else {}
            return xarray.open_dataset(path, engine=engine, decode_cf=False, **more)
        try:
            return xarray.open_dataset(path, engine="zarr", decode_cf=False, chunks=None)
        except (ImportError, ValueError) as error:
            if "zarr" not in str(error) or "install" not in str(error):
                raise
            raise ConfigError(
                f"{path}: expected the package zarr to read it, found none; install it with `pip "
                "install zarr`"
            ) from error


def _is_netcdf_3(path: Path) -> bool:
    return first_bytes(path).startswith(NETCDF_3)


def _is_single_field(file: h5py.File) -> bool:
    """Whether an HDF5 file has a field with its unit, and no stack."""
    found = {"field": False}

    def look(_: str, item: Any) -> bool | None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf":
            return None
        if item.ndim == 3:
            return True
        found["field"] |= item.ndim == 2 and "units" in item.attrs and item.parent == file
        return None

    return file.visititems(look) is None and found["field"]


def _is_numeric(variable: Any) -> bool:
    return bool(variable.dtype.kind in "iuf")
