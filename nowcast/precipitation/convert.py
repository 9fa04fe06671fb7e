"""Other people's radar as an archive: unit to pixel, an explicit cut, and nothing absurd let in.

No frame is stretched: it is cropped, or averaged over whole blocks. What an importer reads
(`importers`) is checked here, frame by frame, before it is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.description import Description, Grid
from nowcast.precipitation.importers.field import Field, Request, Source
from nowcast.precipitation.importers.table import importer, sources
from nowcast.precipitation.index import commonest_gap
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration, encode, pixel_from_dbz
from nowcast.precipitation.writer import ArchiveWriter

# Bounds beyond which a value is no measurement but a fill value or another unit.
LOWEST_DBZ = -60.0  # what the most sensitive cloud radars see nearby
HIGHEST_DBZ = 100.0  # giant hail is near 80; 8-bit scales end at 95.5
HIGHEST_MM_H = 2000.0  # the record of one minute is 31.2 mm, 1872 mm/h (Unionville 1956, WMO)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Target:
    """What archive to make of a source.

    Args:
        calibration: the Z-R relation between rain rate and pixel; None is HKO-7's for rates and
            sums, and an error for dBZ. A rate comes back from a pixel by the relation that wrote
            it, so for rates any would do; with HKO-7's a pixel means the same rate in every
            archive, and a model trained on one reads the other. Reflectivity was measured: which
            rate it means is the radar's, and no default is true.
        accumulation_minutes: over which rain was summed, where the source does not state it.
        crop: (first row, end row, first column, end column), ends exclusive, row 0 north.
        block_mean: side of the blocks averaged over, pixels, after the crop. The mean is of rain
            rates, not of dBZ, so that the rain of an area is kept. A block with any pixel without
            data has none: half a mean would be a biased one.
        step_minutes: between frames; None is the commonest gap.
        no_data: a value that means no data, besides NaN.
        name: of the archive; that of the source if None.
        credit: who made the data and must be named.
    """

    calibration: Calibration | None = None
    accumulation_minutes: float | None = None
    crop: tuple[int, int, int, int] | None = None
    block_mean: int = 1
    step_minutes: int | None = None
    no_data: float | None = None
    name: str | None = None
    credit: str = "not stated"


@dataclass(frozen=True)
class Written:
    """An archive that was made.

    Args:
        root: where it is.
        frames: frames in it.
        empty: moments left out because their field had no data at all.
        missing: moments of the step between first and last that the source does not have.
        usable_share: share of pixels with data in every frame (the exclude mask).
        description: as in its ``archive.json``.
    """

    root: Path
    frames: int
    empty: int
    missing: int
    usable_share: float
    description: Description

    def summary(self) -> str:
        """One line for whoever converted."""
        parts = [
            f"{self.frames} frames of {self.description.height}x{self.description.width} every "
            f"{self.description.step_minutes} minutes",
            f"{self.usable_share:.1%} of the pixels have data in all of them",
        ]
        if self.missing:
            parts.append(f"{self.missing} moments missing")
        if self.empty:
            parts.append(f"{self.empty} without any data left out")
        return ", ".join(parts)


def convert(
    source: Path,
    root: Path,
    importer_name: str,
    request: Request,
    target: Target,
    progress: Progress | None = None,
) -> list[Written]:
    """Turn radar in another format into archives in the HKO-7 layout.

    One archive at `root`; for an importer of many, one for each of its sources at `root`/name.
    An archive is in its place only when it is whole. Those made before an error stay.

    Args:
        source: file or folder to read.
        root: folder to make.
        importer_name: see `importers.table`.
        request: what the user says of the source.
        target: what to make of it.
        progress: called with (frames written, frames in all).

    Raises:
        ConfigError: an option is out of range or missing, or there already is an archive.
        DataError: a file is damaged or holds what cannot be rain, or the disk is full; it names
            file and place.
    """
    _check(request, target)
    found = sources(importer_name, source, request)
    many = importer(importer_name).many
    total, done = sum(map(len, found)), 0
    written = []
    for one in found:
        before = done

        def count(frames: int, start: int = before) -> None:
            if progress is not None:
                progress(start + frames, total)

        place = root / one.name if many else root
        try:
            written.append(_write(one, place, target, importer_name, count))
        except OSError as error:
            made = f"; {len(written)} archives before it are whole" if written else ""
            raise DataError(
                f"{error.filename or place}: cannot be written ({error.strerror or error}); what "
                f"was begun at {place} is removed{made}: free space or choose another place, and "
                "convert again"
            ) from error
        done += len(one)
    return written


def _check(request: Request, target: Target) -> None:
    if target.block_mean < 1:
        raise ConfigError(f"--block-mean: expected at least 1, found {target.block_mean}")
    if target.step_minutes is not None and target.step_minutes < 1:
        raise ConfigError(f"--step: expected at least 1 minute, found {target.step_minutes}")
    if target.accumulation_minutes is not None:
        if request.unit != "mm":
            raise ConfigError(
                "--accumulation-minutes: belongs to --unit mm, the sum of rain over them"
            )
        if not 0 < target.accumulation_minutes < np.inf:
            raise ConfigError(
                f"--accumulation-minutes: expected more than 0, found {target.accumulation_minutes}"
            )
    if request.unit == "dBZ" and target.calibration is None:
        raise ConfigError(
            "--zr: --unit dBZ needs the radar's own Z-R relation, which says what rain rate a "
            "reflectivity means; give A,B of Z = A R^B, e.g. 200,1.6 (Marshall and Palmer)"
        )
    if target.no_data is not None and np.isnan(target.no_data):
        raise ConfigError("--no-data: NaN always means no data; leave it out")


def _write(
    source: Source,
    root: Path,
    target: Target,
    importer_name: str,
    count: Callable[[int], None],
) -> Written:
    if not len(source):
        raise DataError(f"{source.name}: expected frames, found none")
    step = _step(source, target.step_minutes)
    first = source.read(0)
    if first.unit == "VIL" and (target.block_mean > 1 or target.calibration is not None):
        raise ConfigError(
            "--block-mean, --zr: SEVIR's VIL levels are kept as they are; crop them or leave it out"
        )
    cut = _Cut(source.where(0), first.values.shape, target)
    calibration = target.calibration or Calibration()
    minutes = _accumulation(first, source.where(0), target)
    description = Description(
        name=target.name or source.name or root.name,
        credit=target.credit,
        step_minutes=step,
        height=cut.height,
        width=cut.width,
        zr_a=calibration.zr_a,
        zr_b=calibration.zr_b,
        quantity="VIL" if first.unit == "VIL" else "reflectivity",
        grid=cut.grid(first.grid),
    )
    usable = np.ones((cut.height, cut.width), dtype=bool)
    frames = empty = 0
    with ArchiveWriter(root, description) as writer:
        for position, field in enumerate(source):
            where = source.where(position)
            _check_alike(field, first, where)
            if _accumulation(field, where, target) != minutes:
                raise DataError(
                    f"{where}: expected a sum over {minutes:g} minutes as in {source.where(0)}, "
                    f"found {field.accumulation_minutes:g}"
                )
            levels, mask = cut.pixels(_checked(field, minutes, where, target), field.unit)
            if mask.any():
                writer.write(field.moment, levels, mask)
                usable &= mask
                frames += 1
            else:
                empty += 1
            count(position + 1)
        if not frames:
            raise DataError(
                f"{source.where(0)}: expected data in some frame, found none"
                f"{' inside --crop' if target.crop else ''}; check --no-data, --crop and the file"
            )
        missing = int((source.moments[-1] - source.moments[0]).astype(np.int64)) // step + 1
        missing -= len(source)
        # The description is written last, so that it can say what was found.
        writer.description = replace(
            description,
            history=tuple(
                _history(source, importer_name, minutes, first, cut, target, frames, empty)
            ),
        )
        writer.finish(usable, None)
    return Written(root, frames, empty, missing, float(usable.mean()), writer.description)


def _history(
    source: Source,
    importer_name: str,
    minutes: float | None,
    first: Field,
    cut: "_Cut",
    target: Target,
    frames: int,
    empty: int,
) -> Iterator[str]:
    yield (
        f"{len(source)} fields of {source.name} through nowcast data convert --importer "
        f"{importer_name}, {source.moments[0]} to {source.moments[-1]} UTC"
    )
    yield from source.notes
    match first.unit:
        case "mm":
            yield f"rain sums in mm over {minutes:g} minutes; rate = mm * 60 / {minutes:g}"
        case "mm_h":
            yield "rain rates in mm/h"
        case "dBZ":
            yield "reflectivity in dBZ"
    if first.unit in ("mm", "mm_h") and target.calibration is None:
        yield "Z-R relation: HKO-7's, not that of this radar"
    if target.no_data is not None:
        yield f"the value {target.no_data:g} taken as no data"
    if target.crop is not None:
        top, bottom, left, right = target.crop
        yield (
            f"cropped to rows {top}:{bottom}, columns {left}:{right} of {cut.source[0]}x"
            f"{cut.source[1]}"
        )
    if target.block_mean > 1:
        yield f"rain rate averaged over blocks of {target.block_mean}x{target.block_mean} pixels"
    if empty:
        yield f"{empty} fields without any data left out; {frames} frames written"


def _step(source: Source, step_minutes: int | None) -> int:
    """The step between frames; every moment must lie on it, counted from the first."""
    minutes = source.moments.astype("datetime64[m]").astype(np.int64)
    gaps = np.diff(minutes)
    if len(gaps) and gaps.min() <= 0:
        position = int(gaps.argmin())
        raise DataError(
            f"{source.where(position + 1)}: expected a later time than {source.moments[position]} "
            f"of {source.where(position)}, found {source.moments[position + 1]}; the clock goes "
            "backwards"
        )
    if step_minutes is None:
        if not len(gaps):
            raise ConfigError(
                f"--step: {source.where(0)} is a single frame, which does not tell the minutes "
                "between frames; give them"
            )
        step_minutes = int(commonest_gap(source.moments) / np.timedelta64(1, "m"))
    off = (minutes - minutes[0]) % step_minutes != 0
    if off.any():
        position = int(off.argmax())
        raise DataError(
            f"{source.where(position)}: expected times every {step_minutes} minutes from "
            f"{source.moments[0]} on, found {source.moments[position]}; remove what lies between, "
            "or give --step"
        )
    return step_minutes


def _accumulation(field: Field, where: str, target: Target) -> float | None:
    """Minutes that rain was summed over; None for other units than mm."""
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


def _check_alike(field: Field, first: Field, where: str) -> None:
    if field.values.shape != first.values.shape:
        raise DataError(
            f"{where}: expected {first.values.shape[0]}x{first.values.shape[1]} pixels as the "
            f"frame of {first.moment} has, found {field.values.shape[0]}x{field.values.shape[1]}; "
            "convert the two sizes one by one"
        )
    if field.grid != first.grid:
        raise DataError(
            f"{where}: expected the grid of the frame of {first.moment}, {first.grid}, found "
            f"{field.grid}; convert the two grids one by one"
        )


def _checked(
    field: Field, minutes: float | None, where: str, target: Target
) -> Float[np.ndarray, "height width"]:
    """The values with NaN where there is no data, rain sums turned to rates in mm/h.

    Raises:
        DataError: a value is infinite, negative (rates and sums) or absurd.
    """
    values = np.array(field.values, dtype=np.float64)
    if target.no_data is not None:
        values[values == target.no_data] = np.nan
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


class _Cut:
    """The part of every field that becomes the frame, and how its values become pixels."""

    def __init__(self, where: str, source: tuple[int, ...], target: Target) -> None:
        rows, columns = source
        top, bottom, left, right = target.crop or (0, rows, 0, columns)
        if not (0 <= top < bottom <= rows and 0 <= left < right <= columns):
            raise ConfigError(
                f"--crop: expected rows and columns inside {rows}x{columns} of {where}, as first "
                f"row, end row, first column, end column; found {top},{bottom},{left},{right}"
            )
        side = target.block_mean
        height, width = divmod(bottom - top, side), divmod(right - left, side)
        if height[1] or width[1]:
            raise ConfigError(
                f"--block-mean: expected blocks of {side}x{side} to fill {bottom - top}x"
                f"{right - left} pixels, found {height[1]} rows and {width[1]} columns over; add "
                f"--crop {top},{bottom - height[1]},{left},{right - width[1]}"
            )
        self.source = (rows, columns)
        self.height, self.width = height[0], width[0]
        self._rows, self._columns = slice(top, bottom), slice(left, right)
        self._side = side
        self._calibration = target.calibration or Calibration()

    def grid(self, grid: Grid | None) -> Grid | None:
        """Where the frame's pixels lie."""
        if grid is None:
            return None
        return Grid(
            grid.projection,
            x_west=grid.x_west + self._columns.start * grid.pixel_x,
            y_north=grid.y_north - self._rows.start * grid.pixel_y,
            pixel_x=grid.pixel_x * self._side,
            pixel_y=grid.pixel_y * self._side,
        )

    def pixels(
        self, values: Float[np.ndarray, "rows columns"], unit: str
    ) -> tuple[UInt8[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
        """Levels and mask (True = use) of a checked field: dBZ, levels of VIL, else mm/h."""
        values = values[self._rows, self._columns]
        if unit == "VIL":
            mask = ~np.isnan(values)
            return np.where(mask, values, 0).astype(np.uint8), mask
        if self._side > 1:
            rates = self._calibration.rate_from_dbz(values) if unit == "dBZ" else values
            shape = (self.height, self._side, self.width, self._side)
            # NaN in, NaN out: a block that lacks a pixel has no mean.
            values, unit = rates.reshape(shape).mean(axis=(1, 3)), "mm_h"
        mask = ~np.isnan(values)
        values = np.where(mask, values, -np.inf if unit == "dBZ" else 0.0)
        pixel = (
            pixel_from_dbz(values) if unit == "dBZ" else self._calibration.pixel_from_rate(values)
        )
        return encode(pixel), mask
