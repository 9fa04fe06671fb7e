"""Options of `nowcast data` that are written as text."""

from collections.abc import Sequence

from nowcast.core.errors import ConfigError
from nowcast.precipitation.units import Calibration


def calibration(text: str | None) -> Calibration | None:
    """The Z-R relation of ``A,B``; raises `ConfigError` for another form."""
    if text is None:
        return None
    try:
        zr_a, zr_b = (float(part) for part in text.split(","))
        return Calibration(zr_a, zr_b)
    except ValueError as error:
        raise ConfigError(
            f"--zr: expected A,B of Z = A R^B, both positive, e.g. 200,1.6; found {text!r}"
        ) from error


def window(text: str | None) -> tuple[int, int, int, int] | None:
    """Rows and columns of ``R0,R1,C0,C1``; raises `ConfigError` for another form."""
    if text is None:
        return None
    try:
        top, bottom, left, right = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--crop: expected first row, end row, first column, end column, e.g. 188,668,129,609; "
            f"found {text!r}"
        ) from error
    return top, bottom, left, right


def bounds(text: str | None) -> tuple[float, float, float, float] | None:
    """Outer edges of ``W,S,E,N``; raises `ConfigError` for another form."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--bounds: expected the outer edges W,S,E,N in the projection's unit, e.g. "
            f"5.5,47,15,55; found {text!r}"
        ) from error
    return west, south, east, north


def names(text: str) -> tuple[str, str]:
    """Two dataset names of ``FRAMES,TIMES``; raises `ConfigError` for another form."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise ConfigError(f"--datasets: expected two names FRAMES,TIMES, found {text!r}")
    return parts[0], parts[1]


def settings(texts: Sequence[str], option: str = "--setting") -> dict[str, str]:
    """Keys and values of ``KEY=VALUE``; raises `ConfigError` for another form."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"{option}: expected KEY=VALUE, found {text!r}")
        pairs[key] = value
    return pairs
