"""SEVIR's vertically integrated liquid (VIL): 4-hour events of 384 x 384 km over the USA.

Source: Veillette et al. 2020 (NeurIPS) and the SEVIR tutorial of MIT Lincoln Laboratory
(github.com/MIT-AI-Accelerator/eie-sevir, examples/SEVIR_Tutorial.ipynb). VIL is the water in a
column, kg/m^2, and no rain rate: the 8-bit levels are kept as they are, and thresholds in mm/h are
nominal. Events overlap in time and lie elsewhere, so each becomes an archive of its own.

No sentence found says which row is north: the tutorial gives the axes of a file as L x L x time,
the catalog gives corners. But under "Georeferencing SEVIR Events" it draws ``vil[:, :, 24]`` with
``Basemap.imshow`` on a map between those corners, and that puts row 0 at the bottom unless told
otherwise (Basemap's source: origin "lower"). So row 0 is the southernmost, and rows are turned.
That rests on the authors' code; no SEVIR file was at hand to compare with another radar.
"""

import csv
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.corners import UnknownProjectionError, project
from nowcast.precipitation.sources.field import Field, Request, Source, to_minute
from nowcast.precipitation.sources.hdf5 import check_array, child, opened

EXPECTED = "a SEVIR file of VIL (HDF5)"
SIDE = 384  # pixels of 1 km
FRAMES = 49
STEP_MINUTES = 5
MISSING = 255
NOTES = (
    "SEVIR: VIL levels kept as they are (kg/m^2 by kg_m2_from_level), no rain rate: thresholds in "
    "mm/h are nominal",
    "SEVIR: rows turned, row 0 of the file taken as the southernmost, as the tutorial's map has it",
)
_COLUMNS = ("id", "file_name", "file_index", "img_type", "time_utc", "minute_offsets")
_CORNERS = ("proj", "llcrnrlon", "llcrnrlat", "width_m", "height_m")


def kg_m2_from_level(level: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Vertically integrated liquid in kg/m^2 of SEVIR's 8-bit levels; NaN at 255, missing.

    0 up to level 5, ``(X - 2) / 90.66`` up to 18, ``exp((X - 83.9) / 38.9)`` above: SEVIR tutorial,
    "Decoding SEVIR data", whose print ``exp( X - 83.9 ) / 38.9`` has a bracket misplaced (it would
    leap from 0.2 to 1e-30 at level 19 and be 1e72 at 254).
    """
    x = level.astype(np.float64)
    low = np.where(x > 5, (x - 2) / 90.66, 0.0)
    values = np.where(x > 18, np.exp((x - 83.9) / 38.9), low)
    return np.asarray(np.where(level == MISSING, np.nan, values))


@dataclass(frozen=True)
class _Event:
    id: str
    index: int
    times: Moments
    grid: Grid | None
    problem: str | None


def read_sevir(source: Path, request: Request) -> list[Source]:
    """A source for each event of a SEVIR VIL file.

    Raises:
        ConfigError: there is no file, no catalog, or not the wanted event.
        DataError: the file or the catalog is damaged, or they contradict each other.
    """
    if request.unit is not None:
        raise ConfigError("--unit: SEVIR's VIL levels are kept as they are; leave it out")
    if not source.is_file():
        raise ConfigError(f"{source}: expected one SEVIR file SEVIR_VIL_....h5, found none")
    if request.catalog is None:
        raise ConfigError(
            "--catalog: expected SEVIR's CATALOG.csv, which holds the times of the events; it lies "
            "at the root of SEVIR's bucket (s3://sevir/CATALOG.csv)"
        )
    events = _events(request.catalog, source.name)
    unknown = sorted(set(request.events) - {event.id for event in events})
    if unknown or not events:
        raise ConfigError(
            f"{request.catalog}: expected {', '.join(unknown) or 'events'} among the VIL events of "
            f"{source.name}, found {len(events)} others; is it the right file?"
        )
    chosen = [event for event in events if not request.events or event.id in request.events]
    _check_file(source, chosen)
    return [_source(source, event) for event in chosen]


def _source(path: Path, event: _Event) -> Source:
    held: list[NDArray[np.uint8]] = []  # the whole event, 7 MB: its frames lie interleaved

    def read(position: int) -> Field:
        if not held:
            with opened(path, EXPECTED) as file:
                held.append(np.ascontiguousarray(np.moveaxis(file["vil"][event.index], 2, 0)))
        levels = held[0][position][::-1]
        if position == FRAMES - 1:
            held.clear()
        values = np.where(levels == MISSING, np.nan, levels.astype(np.float64))
        return Field(event.times[position], values, "VIL", None, event.grid)

    return Source(
        event.id,
        event.times,
        read,
        lambda position: f"{path}, event {event.id}, frame {position}",
        NOTES if event.problem is None else (*NOTES, f"grid not stated: {event.problem}"),
    )


def _check_file(path: Path, events: list[_Event]) -> None:
    with opened(path, EXPECTED) as file:
        vil, ids = child(file, "vil"), child(file, "id")
        check_array(vil, 4, f"(event, {SIDE}, {SIDE}, {FRAMES})")
        if vil.shape[1:] != (SIDE, SIDE, FRAMES) or vil.dtype != np.uint8:
            raise DataError(
                f"{path}: expected vil as 8-bit levels of shape (event, {SIDE}, {SIDE}, {FRAMES}), "
                f"found {vil.dtype} of shape {vil.shape}"
            )
        if ids.shape != vil.shape[:1]:
            raise DataError(f"{path}: expected {len(vil)} ids, found the shape {ids.shape}")
        held = [name.decode() if isinstance(name, bytes) else str(name) for name in ids[...]]
    for event in events:
        found = held[event.index] if event.index < len(held) else "nothing"
        if found != event.id:
            raise DataError(
                f"{path}: expected the event {event.id} at position {event.index} as the catalog "
                f"says, found {found}; catalog and file are of different versions"
            )


def _events(catalog: Path, file_name: str) -> list[_Event]:
    """The VIL events that lie in a file, as the catalog has them."""
    events: dict[str, _Event] = {}
    try:
        with catalog.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            lacking = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if lacking:
                raise DataError(
                    f"{catalog}: expected SEVIR's catalog, found no column {', '.join(lacking)}"
                )
            for row in rows:
                if row["img_type"] != "vil" or Path(row["file_name"] or "").name != file_name:
                    continue
                event = _event(row, f"{catalog}, line {rows.line_num}", catalog)
                if event.id in events:
                    raise DataError(
                        f"{catalog}, line {rows.line_num}: {event.id} stands twice for {file_name}"
                        "; remove one line"
                    )
                events[event.id] = event
    except FileNotFoundError as error:
        raise ConfigError(f"{catalog}: expected SEVIR's CATALOG.csv, found none") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{catalog}: expected SEVIR's CATALOG.csv: {error}") from error
    return list(events.values())


def _event(row: dict[str, str], line: str, catalog: Path) -> _Event:
    try:
        if re.fullmatch(r"[A-Za-z0-9_]+", row["id"]) is None:  # it becomes a folder
            raise ValueError(f"an id {row['id']!r}")
        index = int(row["file_index"])
        middle = datetime.strptime(row["time_utc"], "%Y-%m-%d %H:%M:%S")
        offsets = [int(offset) for offset in row["minute_offsets"].split(":")]
        if index < 0 or len(offsets) != FRAMES:
            raise ValueError(f"{len(offsets)} offsets and the index {index}")
        times = np.array(
            [to_minute(middle + timedelta(minutes=offset), catalog) for offset in offsets]
        )
        if (np.diff(times).astype(np.int64) != STEP_MINUTES).any():
            raise ValueError("offsets that are not 5 minutes apart")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{line}: expected an event of {FRAMES} frames {STEP_MINUTES} minutes apart, found "
            f"{error}"
        ) from error
    return _Event(row["id"], index, times, *_grid(row, line))


def _grid(row: dict[str, str], line: str) -> tuple[Grid | None, str | None]:
    """Where the pixels lie, or why that cannot be told."""
    if not all(row.get(name) for name in _CORNERS):
        return None, "the catalog does not state it"
    try:
        lon, lat, width, height = (float(row[name]) for name in _CORNERS[1:])
        x, y = project(row["proj"], lon, lat)
        return Grid(row["proj"], x, y + height, width / SIDE, height / SIDE), None
    except UnknownProjectionError as error:
        return None, str(error)
    except ValueError as error:
        raise DataError(f"{line}: expected corners and sizes, found {error}") from error
