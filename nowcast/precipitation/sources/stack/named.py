"""Which of a file's arrays are the frames and which their times, where nobody names them."""

from typing import Any

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.hdf5 import attribute, child, path_of
from nowcast.precipitation.sources.measure import is_rain
from nowcast.precipitation.sources.stack.coordinates import scales

USUAL = ("frames", "times")
AXES = 3  # of frames: time, height, width


def frames_and_times(file: Any, request: Request) -> tuple[Any, Any]:
    """The frames and the times of a file: as ``--datasets`` names them, else the one array (time,
    height, width) that is rain or reflectivity by its unit, and the times along its first axis.

    Args:
        file: HDF5's, or a `labelled.Holder`.
        request: what the user says.

    Raises:
        ConfigError: there are several, or none is told from the others.
        DataError: one that is named is not there.
    """
    if request.datasets is not None:
        return child(file, request.datasets[0]), child(file, request.datasets[1])
    if all(name in file for name in USUAL):
        return file[USUAL[0]], file[USUAL[1]]
    arrays = [file[name] for name in file if _is_array(file.get(name))]
    stacks = [item for item in arrays if item.ndim == AXES and 0 not in item.shape]
    rain = [item for item in stacks if _is_rain(item)]
    if not rain and request.unit is not None:
        rain = [item for item in stacks if "units" not in item.attrs]
    if len(rain) != 1:
        named = ", ".join(item.name.strip("/") for item in rain or arrays) or "none"
        raise ConfigError(
            f"--datasets: {path_of(file)}: expected one array (time, y, x) in a unit of rain or "
            f"reflectivity, found {len(rain)} among {named}; name it and its times with --datasets "
            "FRAMES,TIMES, and give --unit if it states none"
        )
    frames = rain[0]
    fitting = [item for item in arrays if item.shape == frames.shape[:1]]
    times = [item for item in fitting if _is_time(item)]
    along = {item.name for item in scales(frames, 0)}
    times = [item for item in times if item.name in along] or times
    if len(times) != 1:
        named = ", ".join(item.name.strip("/") for item in times or fitting) or "none"
        raise ConfigError(
            f"--datasets: {path_of(file)}: expected one array with the times of {frames.name}, "
            f"found {len(times)} among {named}; name both with --datasets FRAMES,TIMES"
        )
    return frames, times[0]


def _is_array(item: Any) -> bool:
    return hasattr(item, "shape") and item.dtype.kind in "iuf"


def _is_rain(item: Any) -> bool:
    try:
        units = str(attribute(item, "units")) if "units" in item.attrs else ""
        amount = "standard_name" in item.attrs and str(attribute(item, "standard_name"))
    except (ValueError, DataError):
        return False
    return is_rain("kg m-2" if units == "kg" and amount else units)


def _is_time(item: Any) -> bool:
    units = str(attribute(item, "units")) if "units" in item.attrs else ""
    return " since " in units or "time" in item.name.lower()
