"""What the decoding process and its caller say to each other: a line of JSON, then plain numbers.

Nothing is unpickled. What comes from the decoding process is checked like what comes from a file,
since a hostile file may have taken it over.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray

from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.field import FIRST_YEAR, LAST_YEAR, Field, Request
from nowcast.precipitation.sources.hdf5 import LARGEST
from nowcast.precipitation.sources.measure import Measure, Unit

LONGEST_LINE = 2**28  # bytes; a stack names each of its frames in it
DTYPES = ("<f4", "<f8", "<i8")

Message = dict[str, Any]
Read = Callable[[int], bytes]


class WireError(Exception):
    """What came is no message."""


def send(file: BinaryIO, message: Mapping[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Write a message and its arrays."""
    plain = [np.ascontiguousarray(array, dtype=_dtype(array)) for array in arrays]
    stated = [{"dtype": array.dtype.str, "shape": array.shape} for array in plain]
    file.write(json.dumps({**message, "arrays": stated}).encode() + b"\n")
    for array in plain:
        file.write(array.tobytes())
    file.flush()


def _dtype(array: NDArray[Any]) -> str:
    if array.dtype.kind in "iu":
        return "<i8"
    return "<f4" if array.dtype == np.float32 else "<f8"


def header(line: bytes) -> tuple[Message, list[tuple[np.dtype[Any], tuple[int, ...]]]]:
    """A message without its arrays, and the types and shapes of those that follow.

    Raises:
        WireError: it is none, or states arrays that no radar has.
    """
    try:
        message = json.loads(line)
        shapes = []
        for stated in message.pop("arrays"):
            shape = tuple(int(side) for side in stated["shape"])
            if stated["dtype"] not in DTYPES or not all(0 <= side <= LARGEST for side in shape):
                raise WireError(f"an array of {stated}")
            if np.prod([float(side) for side in shape]) > LARGEST:
                raise WireError(f"an array of {stated}")
            shapes.append((np.dtype(stated["dtype"]), shape))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise WireError(f"{type(error).__name__}: {error}") from error
    return message, shapes


def request_json(request: Request) -> Message:
    """A request as JSON holds it."""
    found = asdict(request)
    found["times"] = None if request.times is None else str(request.times)
    found["catalog"] = None if request.catalog is None else str(request.catalog)
    found["skip"] = sorted(map(str, request.skip))
    return found


def request_of(stated: Message) -> Request:
    """The request that `request_json` wrote."""
    found = dict(stated)
    for key in ("times", "catalog"):
        found[key] = None if found[key] is None else Path(found[key])
    for key in ("datasets", "bounds"):
        found[key] = None if found[key] is None else tuple(found[key])
    found["events"] = tuple(found["events"])
    found["skip"] = frozenset(map(Path, found["skip"]))
    return Request(**found)


def field_json(field: Field) -> Message:
    """A field as JSON holds it, without its values."""
    return {
        "time": int(field.time.astype("datetime64[m]").astype(np.int64)),
        "unit": field.unit,
        "minutes": field.accumulation_minutes,
        "grid": None if field.grid is None else asdict(field.grid),
        "converted": None if field.converted is None else asdict(field.converted),
    }


def field_of(message: Message, arrays: list[NDArray[Any]]) -> Field:
    """The field that `field_json` wrote, with its values.

    Raises:
        WireError: it is none.
    """
    try:
        (values,) = arrays
        if values.ndim != 2 or values.dtype.kind != "f" or message["unit"] not in get_args(Unit):
            raise WireError(f"a field of shape {values.shape} in {message['unit']!r:.40}")
        minutes, grid, converted = (message[key] for key in ("minutes", "grid", "converted"))
        return Field(
            moments(np.array([message["time"]]))[0],
            values,
            message["unit"],
            None if minutes is None else float(minutes),
            None if grid is None else Grid(**grid),
            None if converted is None else Measure(**converted),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise WireError(f"{type(error).__name__}: {error}") from error


def moments(minutes: NDArray[Any]) -> Moments:
    """Minutes since 1970 as times.

    Raises:
        WireError: they are of no year that radar has seen.
    """
    found: Moments = np.asarray(minutes, dtype=np.int64).astype("datetime64[m]")
    first, last = (np.datetime64(f"{year}-01-01", "m") for year in (FIRST_YEAR, LAST_YEAR))
    if found.ndim != 1 or (len(found) and not (first <= found.min() and found.max() < last)):
        raise WireError("times of no year that radar has seen")
    return found
