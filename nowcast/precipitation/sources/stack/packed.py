"""Packed numbers as netCDF states them: what a raw number is worth, which are no data, which dry.

Source: CF conventions 1.11, sections 2.5.1 (missing data, valid range), 3.5 (flags) and 8.1
(packing); netCDF's Attribute Conventions for ``_Unsigned``. xarray and netCDF4 read the same (the
tests compare), each a part of it. Ours is ``undetect``, ODIM's word, for the raw numbers that mean
dry: packed numbers have none for minus infinity dBZ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import DataError
from nowcast.precipitation.sources.hdf5 import attribute, number, numbers, path_of, scaled, text

NO_DATA_FLAGS = (
    "missing", "missing_data", "missing_value", "no_data", "nodata", "fill", "fill_value",
    "invalid", "bad", "out_of_range", "outside", "out_of_image", "not_available", "no_coverage",
    "outside_coverage", "range_folded", "masked",
)  # fmt: skip
DRY_FLAGS = (
    "dry", "undetect", "undetected", "no_rain", "no_precipitation", "no_echo", "not_detected",
    "below_detection", "below_detection_limit", "below_threshold", "no_detection", "zero",
)  # fmt: skip

EVERYTHING = (-np.inf, np.inf)
NEARLY = 1e-3  # of a step: codes that are stated as values, in single precision


@dataclass(frozen=True)
class Packing:
    """How the stored numbers of a dataset become values.

    Args:
        dtype: of the raw numbers: the stored ones as ``_Unsigned`` wants them read.
        scale: of the values.
        offset: of the values.
        no_data: raw numbers that are no data.
        no_data_values: values that are no data, for codes that no raw number can be.
        dry: raw numbers that mean dry.
        valid: smallest and largest raw number that is data.
        valid_values: the same of values.
    """

    dtype: np.dtype[Any]
    scale: float = 1.0
    offset: float = 0.0
    no_data: tuple[float, ...] = ()
    no_data_values: tuple[float, ...] = ()
    dry: tuple[float, ...] = ()
    valid: tuple[float, float] = EVERYTHING
    valid_values: tuple[float, float] = EVERYTHING

    def values(self, stored: NDArray[Any], dry: float) -> NDArray[np.float64]:
        """Values of stored numbers: NaN where there is no data, `dry` where it is dry.

        No data wins where one number is said to be both.

        Args:
            stored: as they lie in the file.
            dry: 0, or -inf for dBZ. A stored -inf stays: no range excludes it.
        """
        raw = stored.astype(stored.dtype.newbyteorder("=")).view(self.dtype)
        found = scaled(raw, self.scale, self.offset)
        is_dry = _any_of(raw, self.dry)
        outside = _outside(raw, self.valid) | _outside(found, self.valid_values)
        outside &= ~is_dry & (found != -np.inf)
        found_codes = _any_of(raw, self.no_data)
        for code in self.no_data_values:
            found_codes |= np.isclose(found, code, rtol=0, atol=abs(self.scale) * NEARLY)
        found[is_dry] = dry
        found[outside | found_codes] = np.nan
        return found


def packing(dataset: Any) -> Packing:
    """The packing of an HDF5 dataset, as its attributes state it.

    Raises:
        DataError: an attribute is no number, a range is empty, or a flag's meaning is not known.
    """
    dtype = _dtype(dataset)
    scale, offset = (
        number(dataset, key) if key in dataset.attrs else default
        for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if scale == 0:
        raise DataError(
            f"{path_of(dataset)}: expected a scale_factor of {dataset.name} other than 0; mend it"
        )
    codes = _codes(dataset, "_FillValue", dtype) + _codes(dataset, "missing_value", dtype)
    valid, of_values = _valid(dataset, dtype)
    no_data, dry = _flags(dataset, dtype)
    return Packing(
        dtype,
        scale,
        offset,
        tuple(code for code in codes if _is_raw(code, dtype)) + no_data + _unwritten(dataset),
        tuple(code for code in codes if not _is_raw(code, dtype)),
        tuple(_codes(dataset, "undetect", dtype)) + dry,
        EVERYTHING if of_values else valid,
        valid if of_values else EVERYTHING,
    )


def _dtype(dataset: Any) -> np.dtype[Any]:
    """Of the raw numbers: ``_Unsigned`` says of which kind stored integers are."""
    dtype: np.dtype[Any] = dataset.dtype.newbyteorder("=")
    if "_Unsigned" not in dataset.attrs or dtype.kind not in "iu":
        return dtype
    stated = str(attribute(dataset, "_Unsigned")).strip().lower()
    if stated not in ("true", "false", "1", "0"):
        raise DataError(
            f"{path_of(dataset)}: expected true or false in {dataset.name}/_Unsigned, found "
            f"{stated!r}; mend the attribute"
        )
    return np.dtype(f"{'u' if stated in ('true', '1') else 'i'}{dtype.itemsize}")


def _codes(dataset: Any, key: str, dtype: np.dtype[Any]) -> list[float]:
    """The numbers of an attribute, as raw numbers; empty where there is none."""
    if key not in dataset.attrs:
        return []
    found = [float(value) for value in numbers(dataset, key)]
    if dtype.kind == "u" and dataset.dtype.kind == "i":
        # Beside _Unsigned they are written as the signed numbers that are stored.
        found = [value + 2 ** (8 * dtype.itemsize) if value < 0 else value for value in found]
    return found


def _is_raw(code: float, dtype: np.dtype[Any]) -> bool:
    """Whether a raw number can be this code: else it is meant of the values."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(code == np.rint(code) and limits.min <= code <= limits.max)


def _valid(dataset: Any, dtype: np.dtype[Any]) -> tuple[tuple[float, float], bool]:
    """The valid range, and whether it is one of values instead of raw numbers.

    A range in the raw numbers' own type is of them, one in floating point beside packed integers
    of the values (NetCDF Users Guide, "valid_range").
    """
    low, high = EVERYTHING
    floating = False
    for key in ("valid_range", "valid_min", "valid_max"):
        if key not in dataset.attrs:
            continue
        stated = _codes(dataset, key, dtype)
        floating |= numbers(dataset, key).dtype.kind == "f"
        if len(stated) != (2 if key == "valid_range" else 1):
            raise DataError(
                f"{path_of(dataset)}: expected {'two numbers' if key == 'valid_range' else 'one'} "
                f"in {dataset.name}/{key}, found {len(stated)}; mend the attribute"
            )
        if key != "valid_max":
            low = max(low, stated[0])
        if key != "valid_min":
            high = min(high, stated[-1])
    if not low <= high:
        raise DataError(
            f"{path_of(dataset)}: expected a valid range of {dataset.name}, found {low:g} to "
            f"{high:g}; mend the attribute"
        )
    return (low, high), floating and dtype.kind != "f"


def _flags(dataset: Any, dtype: np.dtype[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Raw numbers that ``flag_values`` and ``flag_meanings`` say are no data, and dry."""
    if "flag_values" not in dataset.attrs:
        return (), ()
    codes = _codes(dataset, "flag_values", dtype)
    meanings = text(dataset, "flag_meanings").lower().replace("-", "_").split()
    if len(meanings) != len(codes):
        raise DataError(
            f"{path_of(dataset)}: expected a meaning for each of the {len(codes)} flag_values of "
            f"{dataset.name}, found {len(meanings)} in flag_meanings; mend the attribute"
        )
    unknown = sorted(set(meanings) - {*NO_DATA_FLAGS, *DRY_FLAGS})
    if unknown:
        raise DataError(
            f"{path_of(dataset)}: expected flag_meanings of {dataset.name} that are no data "
            f"({', '.join(NO_DATA_FLAGS)}) or dry ({', '.join(DRY_FLAGS)}), found "
            f"{', '.join(unknown)}; call them by one of these"
        )
    pairs = list(zip(codes, meanings, strict=True))
    return (
        tuple(code for code, meaning in pairs if meaning in NO_DATA_FLAGS),
        tuple(code for code, meaning in pairs if meaning in DRY_FLAGS),
    )


def _unwritten(dataset: Any) -> tuple[float, ...]:
    """What netCDF reads where nothing was written, if no attribute says it.

    Not of single bytes, each of whose 256 numbers may be meant (NetCDF Users Guide, "Fill
    Values"), nor the 0 that plain HDF5 has there.
    """
    if "_FillValue" in dataset.attrs or dataset.dtype.itemsize == 1:
        return ()
    if not isinstance(dataset, h5py.Dataset):  # xarray states what the others have
        return ()
    defined = dataset.id.get_create_plist().fill_value_defined()
    if defined != h5py.h5d.FILL_VALUE_USER_DEFINED or dataset.fillvalue == 0:
        return ()
    return (float(dataset.fillvalue),)


def _any_of(raw: NDArray[Any], codes: Iterable[float]) -> NDArray[np.bool_]:
    hit = np.zeros(raw.shape, dtype=bool)
    for code in codes:
        if np.isnan(code):
            hit |= np.isnan(raw)
        elif raw.dtype.kind == "f":
            # A file of single precision holds -9999.9 as near as it can.
            with np.errstate(over="ignore"):
                hit |= raw == raw.dtype.type(code)
        else:
            hit |= raw == code
    return hit


def _outside(numbers: NDArray[Any], valid: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((numbers < valid[0]) | (numbers > valid[1]))
