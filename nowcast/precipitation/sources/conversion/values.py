"""What a radar cannot have measured is refused: fill values, other units, damaged fields."""

import numpy as np
from jaxtyping import Bool, Float

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Field
from nowcast.precipitation.sources.measure import HIGHEST_DBZ, HIGHEST_MM_H, LOWEST_DBZ
from nowcast.precipitation.units import PIXEL_LEVELS


def accumulation(field: Field, where: str, target: Target) -> float | None:
    """Minutes that rain was summed over; None for other units than mm.

    Raises:
        ConfigError: neither the field nor the user states them.
        DataError: they contradict each other, or are no time.
    """
    if field.unit != "mm":
        return None
    stated, said = field.accumulation_minutes, target.accumulation_minutes
    if stated is not None and not 0 < stated < np.inf:
        raise DataError(
            f"{where}: expected a sum over some minutes, found {stated:g}; it is damaged"
        )
    if stated is None and said is None:
        raise ConfigError(
            f"--accumulation-minutes: {where} does not state over how many minutes rain was "
            "summed; give them"
        )
    if stated is not None and said is not None and stated != said:
        raise DataError(
            f"{where}: states a sum over {stated:g} minutes, but --accumulation-minutes says "
            f"{said:g}; leave the option out, or mend the file"
        )
    return stated if said is None else said


def check_units(field: Field, where: str, target: Target) -> None:
    """That what a user wants fits the unit of the first field, which its file may have stated.

    Raises:
        ConfigError: dBZ without the radar's Z-R relation, or minutes of a sum that is none.
    """
    if field.unit == "dBZ" and target.calibration is None:
        raise ConfigError(
            f"--zr: {where} holds reflectivity (dBZ), which needs the radar's own Z-R relation: "
            "what rain rate it means; give A,B of Z = A R^B, e.g. 200,1.6 (Marshall and Palmer)"
        )
    if field.unit != "mm" and target.accumulation_minutes is not None:
        raise ConfigError(
            f"--accumulation-minutes: belongs to --unit mm, the sum of rain over them, but {where} "
            f"is in {field.unit}; leave it out"
        )


def check_alike(field: Field, first: Field, where: str) -> None:
    """Raise `DataError` unless a field has the unit, the size and the grid of the first one."""
    if field.unit != first.unit:
        raise DataError(
            f"{where}: expected {first.unit} as the frame of {first.time} has, found "
            f"{field.unit}; convert the two units one by one"
        )
    if field.values.shape != first.values.shape:
        raise DataError(
            f"{where}: expected {first.values.shape[0]}x{first.values.shape[1]} pixels as the "
            f"frame of {first.time} has, found {field.values.shape[0]}x{field.values.shape[1]}; "
            "convert the two sizes one by one"
        )
    if field.grid != first.grid:
        raise DataError(
            f"{where}: expected the grid of the frame of {first.time}, {first.grid}, found "
            f"{field.grid}; convert the two grids one by one"
        )


def checked(
    field: Field, minutes: float | None, where: str, target: Target
) -> Float[np.ndarray, "height width"]:
    """The values with NaN where there is no data, rain sums turned to rates in mm/h.

    Raises:
        DataError: a value is infinite, negative (rates and sums) or absurd.
    """
    values = np.array(field.values, dtype=np.float64)
    if target.no_data is not None:
        values[values == target.no_data] = np.nan
        if field.converted is not None:
            # What the file has, in the unit that it was turned to; in single precision too.
            code = float(field.converted.convert(np.array(target.no_data)))
            values[np.isclose(values, code, rtol=1e-6, atol=0)] = np.nan
        if abs(target.no_data) <= float(np.finfo(np.float32).max):
            # A file of single precision holds a fill value as near as it can.
            values[values == np.float64(np.float32(target.no_data))] = np.nan
    if field.unit == "VIL":
        _refuse(values, ~((values >= 0) & (values <= PIXEL_LEVELS)), "0 to 255", where, "levels")
        return values
    if field.unit == "dBZ":
        absurd = (values != -np.inf) & ((values < LOWEST_DBZ) | (values > HIGHEST_DBZ))
        _refuse(values, absurd, f"{LOWEST_DBZ:g} to {HIGHEST_DBZ:g} dBZ", where, "dBZ")
        return values
    if minutes is not None:
        _refuse(values, values < 0, "0 mm or more", where, "mm")
        with np.errstate(over="ignore"):  # what overflows is refused
            values *= 60 / minutes
    absurd = (values < 0) | (values > HIGHEST_MM_H)
    _refuse(values, absurd, f"0 to {HIGHEST_MM_H:g} mm/h", where, "mm/h")
    return values


def _refuse(
    values: Float[np.ndarray, "height width"],
    absurd: Bool[np.ndarray, "height width"],
    expected: str,
    where: str,
    unit: str,
) -> None:
    absurd = absurd & ~np.isnan(values)
    if not absurd.any():
        return
    row, column = np.unravel_index(int(absurd.argmax()), absurd.shape)
    raise DataError(
        f"{where}: expected {expected}, found {int(absurd.sum())} other values, the first "
        f"{values[row, column]:g} {unit} at row {row} (from north), column {column}; is --unit "
        "right? If it is a fill value, declare it with --no-data VALUE"
    )
