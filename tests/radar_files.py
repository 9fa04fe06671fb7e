"""Radar files of the formats that are converted, written from their specifications."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KNMI_STERE = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
LAEA = "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"


def text(value: str) -> np.bytes_:
    return np.bytes_(value.encode() + b"\0")  # ODIM strings end in a null


def write_odim(
    path: Path,
    raw: np.ndarray,
    *,
    quantity: str = "DBZH",
    gain: float = 0.5,
    offset: float = -32.0,
    nodata: float = 255,
    undetect: float = 0,
    date: str = "20200601",
    time: str = "120000",
    minutes: int = 5,
    made: str = "COMP",
    projection: str = LAEA,
    compression: str | None = None,
) -> None:
    """An ODIM composite with one field and a quality field; a sum starts at date and time."""
    start = np.datetime64(
        f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}", "s"
    )
    end = str(start + np.timedelta64(minutes, "m"))
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = text("ODIM_H5/V2_4")
        what = file.create_group("what")
        what.attrs["object"] = text(made)
        what.attrs["version"] = text("H5rad 2.4")
        what.attrs["source"] = text("ORG:0,CMT:the tests")
        what.attrs["date"], what.attrs["time"] = text(date), text(time)
        where = file.create_group("where")
        where.attrs["projdef"] = text(projection)
        where.attrs["ysize"], where.attrs["xsize"] = map(np.int64, raw.shape)
        where.attrs["xscale"] = where.attrs["yscale"] = 2000.0
        # Outer corners of a grid centred on 55 N 10 E, to about a metre.
        for corner, lon, lat in (("LL", 9.0, 54.0), ("UR", 11.0, 56.0)):
            where.attrs[f"{corner}_lon"], where.attrs[f"{corner}_lat"] = lon, lat
        dataset = file.create_group("dataset1")
        what = dataset.create_group("what")
        what.attrs["product"] = text("COMP")
        what.attrs["startdate"], what.attrs["starttime"] = text(date), text(time)
        what.attrs["enddate"] = text(end[:10].replace("-", ""))
        what.attrs["endtime"] = text(end[11:].replace(":", ""))
        for number, (name, values) in enumerate(
            ((quantity, raw), ("QIND", np.full(raw.shape, 200, dtype=np.uint8))), start=1
        ):
            data = dataset.create_group(f"data{number}")
            what = data.create_group("what")
            what.attrs["quantity"] = text(name)
            what.attrs["gain"], what.attrs["offset"] = gain, offset
            what.attrs["nodata"], what.attrs["undetect"] = float(nodata), float(undetect)
            data.create_dataset("data", data=values, compression=compression)


def write_knmi(
    path: Path,
    raw: np.ndarray,
    *,
    parameter: str = "ACCUMULATED_PRECIPITATION_[MM]",
    formula: str = "GEO=0.01*PV+0.0",
    missing: int = 65534,
    outside: int = 65535,
    start: str = "26-AUG-2010;04:55:00.000",
    end: str = "26-AUG-2010;05:00:00.000",
    images: int = 1,
    pixel_y: float = -1.0,
) -> None:
    """A KNMI file as its format 3.5 has it."""
    with h5py.File(path, "w") as file:
        overview = file.create_group("overview")
        overview.attrs["product_datetime_start"] = np.array([start.encode()])
        overview.attrs["product_datetime_end"] = np.array([end.encode()])
        place = file.create_group("geographic")
        place.attrs["geo_number_rows"] = np.array([raw.shape[0]], dtype=np.int32)
        place.attrs["geo_number_columns"] = np.array([raw.shape[1]], dtype=np.int32)
        place.attrs["geo_pixel_size_x"] = np.array([1.0], dtype=np.float32)
        place.attrs["geo_pixel_size_y"] = np.array([pixel_y], dtype=np.float32)
        place.attrs["geo_row_offset"] = np.array([3650.0], dtype=np.float32)
        place.attrs["geo_column_offset"] = np.array([0.0], dtype=np.float32)
        projection = place.create_group("map_projection")
        projection.attrs["projection_proj4_params"] = np.bytes_(KNMI_STERE)
        for number in range(1, images + 1):
            group = file.create_group(f"image{number}")
            group.attrs["image_geo_parameter"] = np.bytes_(parameter)
            group.create_dataset("image_data", data=raw, compression="gzip")
            scale = group.create_group("calibration")
            scale.attrs["calibration_formulas"] = np.bytes_(formula)
            scale.attrs["calibration_missing_data"] = np.array([missing], dtype=np.int32)
            scale.attrs["calibration_out_of_image"] = np.array([outside], dtype=np.int32)


def sevir_row(id: str, index: int, **changed: Any) -> dict[str, Any]:
    """A line of SEVIR's catalog."""
    offsets = ":".join(str(5 * n - 120) for n in range(49))
    return {
        "id": id,
        "file_name": "vil/2019/SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5",
        "file_index": index,
        "img_type": "vil",
        "time_utc": "2019-06-10 18:32:00",
        "minute_offsets": offsets,
        "llcrnrlat": 38.0,
        "llcrnrlon": -98.0,
        "proj": "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere",
        "height_m": 384000,
        "width_m": 384000,
    } | changed


def write_sevir(folder: Path, vil: np.ndarray, rows: Sequence[dict[str, Any]]) -> tuple[Path, Path]:
    """A SEVIR file and its catalog; ids as the rows of type vil have them."""
    path = folder / "SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5"
    ids = [row["id"] for row in rows if row["img_type"] == "vil"]
    with h5py.File(path, "w") as file:
        file["id"] = np.array([name.encode() for name in ids])
        file.create_dataset("vil", data=vil, compression="gzip", chunks=(1, *vil.shape[1:]))
    catalog = folder / "CATALOG.csv"
    lines = [",".join(rows[0])] + [",".join(map(str, row.values())) for row in rows]
    catalog.write_text("\n".join(lines) + "\n")
    return path, catalog
