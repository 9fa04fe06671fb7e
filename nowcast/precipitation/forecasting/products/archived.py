"""A forecast as an archive, which every tool for HKO-7 and every command here can read.

Pixels are rounded to 8-bit levels; what is masked is level 0. The description says in its name and
history that these frames were forecast, not measured.
"""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import UInt8

from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.packed import FORMAT
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.units import encode


def write_tree(forecast: Forecast, root: Path) -> None:
    """Write a tree in HKO-7's layout, with its masks and ``archive.json``, into a new folder."""
    with ArchiveWriter(root, forecast_description(forecast)) as writer:
        for moment, frame in zip(forecast.times, levels(forecast), strict=True):
            writer.write(moment, frame, forecast.mask)
        writer.finish(forecast.mask, None)


def write_pack(forecast: Forecast, path: Path) -> None:
    """Write one plain HDF5 file, which needs no filter but zlib.

    - ``levels`` (lead, height, width) uint8: (dBZ + 10) / 70, times 255;
    - ``times`` (lead,) int64: valid times, minutes since 1970, UTC;
    - ``usable`` (height, width) uint8: the mask, 1 = the newest frame has data;
    - ``mask_of`` (lead,) int32: -1, every lead has that mask;
    - attributes ``description`` (the text of an ``archive.json``), ``init`` and ``model``.

    It is laid out as a packed archive (`archive.packed`), so it can be read as one;
    its day lists are empty, since a forecast belongs to no split.
    """
    description = forecast_description(forecast)
    whole = (1, description.height, description.width)
    image = BytesIO()  # HDF5 that meets a full disk brings the process down some time later
    with h5py.File(image, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["description"] = description.to_json()
        file.attrs["held"] = (0, description.height, 0, description.width)
        file.attrs["root"] = f"a forecast of {forecast.model}"
        file.attrs["init"] = f"{forecast.init}Z"
        file.attrs["model"] = forecast.model
        frames = file.create_dataset(
            "levels", data=levels(forecast), chunks=whole, compression="gzip", shuffle=True
        )
        frames.attrs["units"] = "8-bit levels: 255 * (dBZ + 10) / 70"
        times = file.create_dataset("times", data=forecast.times.astype(np.int64))
        times.attrs["units"] = "minutes since 1970-01-01 00:00 UTC"
        file["mask_of"] = np.full(len(forecast.times), -1, dtype=np.int32)
        file.create_dataset("usable", data=forecast.mask.astype(np.uint8), compression="gzip")
        for split in SPLITS:
            file[f"days/{split}"] = np.empty(0, dtype=[("day", np.int32), ("mm", np.float64)])
    path.write_bytes(image.getbuffer())


def levels(forecast: Forecast) -> UInt8[np.ndarray, "lead height width"]:
    """The forecast in 8 bits, 0 where it is masked."""
    frames = np.empty(forecast.pixels.shape, dtype=np.uint8)
    for frame, pixels in zip(frames, forecast.pixels, strict=True):
        frame[:] = encode(np.where(forecast.mask, pixels, np.float32(0)))
    return frames


def forecast_description(forecast: Forecast) -> Description:
    """That of the archive it rests on, and that this is a forecast."""
    made = f"forecast of {forecast.model} from {forecast.init} UTC"
    described = forecast.description
    return replace(described, name=f"{described.name} forecast", history=(*described.history, made))
