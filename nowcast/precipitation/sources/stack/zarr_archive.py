"""A Zarr store by the CF conventions as an archive, beside a tree and a pack.

Any array over time, y and x will do whose units are rain or reflectivity (`xarray_object`);
mlcast's datasets are such. Values become the 8-bit levels that every archive has, NaN their masks.
Day lists lie beside the store, in ``NAME.zarr.lists``, or where ``data.lists`` says; there is no
exclude mask.
"""

import os
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive import packed
from nowcast.precipitation.archive.days import Split, read_splits
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.in_order import ArchiveInOrder
from nowcast.precipitation.archive.index import commonest_gap
from nowcast.precipitation.archive.raw_files import is_zarr
from nowcast.precipitation.archive.reader import ArchiveReader, Window
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.measure import HIGHEST_DBZ, HIGHEST_MM_H
from nowcast.precipitation.sources.stack.packed import Packing
from nowcast.precipitation.sources.stack.xarray_object import XarrayRain, read_xarray
from nowcast.precipitation.units import (
    DBZ_AT_PIXEL_0,
    DBZ_SPAN,
    PIXEL_LEVELS,
    Calibration,
    encode,
    pixel_from_dbz,
)

LISTS = ".lists"
CLOSE = 2e-3  # of a level; single precision is off by less than 1e-4


def open_archive(root: Path, lists: Path | None = None) -> ArchiveReader:
    """The archive at a place: a pack where it is a file, a Zarr store or a tree where it is a
    folder; raises as `packed.open_archive` and `ZarrArchive`."""
    return ZarrArchive(root, lists) if is_zarr(root) else packed.open_archive(root, lists)


def open_folder(root: Path, lists: Path | None = None) -> "ZarrArchive | Archive":
    """The archive in a folder, for what packs hold already: a Zarr store or a tree."""
    return ZarrArchive(root, lists) if is_zarr(root) else Archive(root, lists)


class ZarrArchive(ArchiveInOrder):
    """A Zarr store, opened for reading; see `ArchiveReader`.

    Args:
        root: the folder of the store.
        lists: folder of the day lists; None: beside the store.

    Raises:
        ConfigError: it holds no rain over time, y and x, or reflectivity without the Z-R relation.
        DataError: it is damaged.
    """

    def __init__(self, root: Path, lists: Path | None = None) -> None:
        import xarray as xr

        self.root, self.origin = root, "the store's attributes"
        self.lists = lists or root.with_name(root.name + LISTS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of stores without consolidated metadata
                data = xr.open_zarr(root, chunks=None, mask_and_scale=False)
            found = read_xarray(data)
            self.moments = found.source.times.astype("datetime64[m]")
            first = found.source.read(0)
        except NowcastError as error:
            raise type(error)(f"{root}: {error}") from error
        except Exception as error:  # zarr's and numcodecs' own
            raise DataError(
                f"{root}: expected a Zarr store with rain over time, y and x, found none that can "
                f"be read ({type(error).__name__}: {error}); it is damaged, or of another kind"
            ) from error
        self._check(found, first.unit)
        self._calibration = Calibration() if found.zr is None else Calibration(*found.zr)
        height, width = first.values.shape
        self.description = Description(
            name=str(data.attrs.get("mlcast_dataset_identifier") or root.stem),
            credit=str(data.attrs.get("institution") or data.attrs.get("license") or "not stated"),
            step_minutes=int(commonest_gap(self.moments) / np.timedelta64(1, "m")),
            height=height,
            width=width,
            zr_a=self._calibration.zr_a,
            zr_b=self._calibration.zr_b,
            grid=first.grid,
        )
        self.held = (0, height, 0, width)
        self._name, self._dims = str(found.array.name), found.dims
        self._turned = found.place.south_first, found.place.east_first
        self._unit, self._measure = first.unit, first.converted
        self._packed = found.packing
        minutes = first.accumulation_minutes or self.description.step_minutes
        self._to_rate = 60 / minutes if first.unit == "mm" else 1.0
        # The least value that is no longer level 0.
        pixel = 0.49 / PIXEL_LEVELS
        least = self._calibration.rate_from_pixel(pixel) if first.unit != "dBZ" else 70 * pixel - 10
        self._least, self._most = float(least), HIGHEST_DBZ if first.unit == "dBZ" else HIGHEST_MM_H
        self._opened: Any = None
        self._owner = 0

    def _check(self, found: XarrayRain, unit: str) -> None:
        if len(self.moments) < 2 or bool((np.diff(self.moments).astype(int) <= 0).any()):
            raise DataError(
                f"{self.root}: expected two frames or more with ascending times, found others"
            )
        if unit == "dBZ" and found.zr is None:
            raise ConfigError(
                f"{self.root}: expected the Z-R relation of its reflectivity, found none; state "
                f"zr_a and zr_b of Z = a R^b as attributes of {found.array.name}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    @property
    def array(self) -> Any:
        """The open array; every process opens its own."""
        if self._opened is None or self._owner != os.getpid():
            import zarr

            self._opened, self._owner = (
                zarr.open_group(self.root, mode="r")[self._name],
                os.getpid(),
            )
        return self._opened

    @cached_property
    def days(self) -> dict[Split, dict[str, float]]:
        """The day lists; raises as `days.read_splits`."""
        return read_splits(self.lists)

    @property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """Raises ConfigError: there is no exclude mask."""
        raise ConfigError(
            f"{self.root}: a Zarr store has no exclude mask, only NaN for no data; set data.masks: "
            "frame"
        )

    @property
    def has_masks(self) -> bool:
        """Always: NaN is no data."""
        return True

    def into(
        self,
        first: int,
        window: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> None:
        """Consecutive frames from `first` on.

        Raises:
            DataError: they cannot be read whole, or hold what no radar measures.
        """
        rows, columns = (
            slice(size - part.stop, size - part.start) if turned else part
            for part, size, turned in zip(window, self.shape, self._turned, strict=True)
        )
        try:
            raw = self.array[first : first + len(levels), rows, columns]
        except Exception as error:  # zarr's and numcodecs' own
            raise DataError(
                f"{self.root}: expected whole frames from {self.moments[first]} on, found them "
                f"damaged ({type(error).__name__}: {error})"
            ) from error
        turn = tuple(-1 if turned else 1 for turned in self._turned)
        values = self._values(np.asarray(raw)[:, :: turn[0], :: turn[1]])
        flat = values.reshape(-1)
        wet = np.flatnonzero(flat >= self._least)
        rain = flat[wet]
        if (rain > self._most).any() or (self._unit != "dBZ" and bool((flat < 0).any())):
            raise DataError(
                f"{self.root}: expected {self._unit} of {0 if self._unit != 'dBZ' else -60} to "
                f"{self._most:g}, found others from {self.moments[first]} on; correct the store"
            )
        found = np.zeros(flat.shape, dtype=np.uint8)
        found[wet] = self._levels(rain)
        levels[...] = found.reshape(levels.shape)
        if mask is not None:
            np.equal(values, values, out=mask)  # NaN is not

    def _levels(self, rain: np.ndarray) -> UInt8[np.ndarray, " pixel"]:
        """The levels of values above 0, as `encode` rounds them; single precision is enough but
        where a value is close to the edge of a level."""
        if self._unit == "dBZ":
            rough = (rain - np.float32(DBZ_AT_PIXEL_0)) * np.float32(PIXEL_LEVELS / DBZ_SPAN)
        else:
            a, b = self._calibration.zr_a, self._calibration.zr_b
            rough = np.log(rain)
            rough *= np.float32(10 * b / np.log(10) * PIXEL_LEVELS / DBZ_SPAN)
            rough += np.float32((10 * np.log10(a) - DBZ_AT_PIXEL_0) * PIXEL_LEVELS / DBZ_SPAN)
        rough += np.float32(0.5)
        np.minimum(rough, np.float32(PIXEL_LEVELS + 0.5), out=rough)
        levels = rough.astype(np.uint8)
        close = np.flatnonzero(np.abs(rough - np.rint(rough)) < CLOSE)
        to_pixel = pixel_from_dbz if self._unit == "dBZ" else self._calibration.pixel_from_rate
        levels[close] = encode(to_pixel(rain[close].astype(np.float64)))
        return levels

    def _values(self, raw: np.ndarray) -> np.ndarray:
        """In dBZ or mm/h; NaN where there is no data."""
        assert self._measure is not None
        values = raw
        if not _is_plain(self._packed):
            values = self._packed.values(raw, -np.inf if self._unit == "dBZ" else 0.0)
        factor = self._measure.factor * self._to_rate
        if self._measure.linear:
            return self._measure.convert(values)
        return values if factor == 1 else values * values.dtype.type(factor)


def _is_plain(packed: Packing) -> bool:
    """Whether stored numbers are values already, and NaN alone is no data."""
    codes = packed.no_data + packed.no_data_values
    return (
        packed.dtype.kind == "f"
        and packed
        == Packing(packed.dtype, no_data=packed.no_data, no_data_values=packed.no_data_values)
        and all(map(np.isnan, codes))
    )
