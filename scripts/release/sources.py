"""The radar that the weights are trained, chosen and scored on, by archive.

``python -m scripts.release.sources`` says how each is made.
"""

import math
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nowcast.precipitation.archive.days import SPLITS, Split, write_days

Days = tuple[str, ...]

PYSTEPS_DATA = "github.com/pySTEPS/pysteps-data"


@dataclass(frozen=True)
class Source:
    """One archive.

    Args:
        name: its folder's.
        radar: which radar it is of: what is left out together.
        about: product, time, grid and step.
        public: where the original is.
        terms: of use, as known.
        made: the command that makes the archive from the original.
        pixel_km: height of a pixel.
        train: days that are trained on; a prefix stands for all that begin so.
        valid: days that are chosen by.
        test: days that are scored, once.
        weight: how often clips of it are drawn.
        speeds: see `SourceSettings.speeds`.
        open: its terms are verified and free.
        frames: input and output frames where there are too few for 10 and 10.
    """

    name: str
    radar: str
    about: str
    public: str
    terms: str
    made: str
    pixel_km: float
    train: Days = ()
    valid: Days = ()
    test: Days = ()
    weight: float = 1.0
    speeds: tuple[int, ...] = (1, 1, 2)
    open: bool = True
    frames: tuple[int, int] = (10, 10)

    def days(self, split: str, there: set[str]) -> list[str]:
        """Those of a split, of the days that are there."""
        wanted = {"train": self.train, "valid": self.valid, "test": self.test}[split]
        return sorted(day for day in there if day.startswith(wanted)) if wanted else []

    def found(self, folder: Path) -> set[str]:
        """The days that the archive has frames of."""
        frames = (folder / self.name / "radarPNG").glob("*/*/*")
        return {"".join(path.parts[-3:]) for path in frames}


def _dpc(crop: str, train: Days = (), valid: Days = (), test: Days = ()) -> Source:
    return Source(
        f"dpc_{crop}_20250416",
        "DPC",
        f"Italian composite (DPC), {crop}, an evening, vertical maximum, 480x480, 5 min",
        "radar platform of the Dipartimento della Protezione Civile",
        "CC BY-SA, not verified",
        "`nowcast data convert` of the GeoTIFFs, `--unit dBZ --zr 200,1.6`, cropped",
        1.0,
        weight=0.7,
        speeds=(1, 1, 2, 3),
        open=False,
        train=train,
        valid=valid,
        test=test,
    )


def _mrms(tile: str, train: Days = (), valid: Days = (), test: Days = ()) -> Source:
    row, column = (int(part[1:]) for part in tile.split("_"))
    return Source(
        f"mrms_{tile}",
        "MRMS",
        f"NOAA/NSSL MRMS PrecipRate, tile {tile}, 00:00-01:10 UTC, 480x480, 2 min",
        f"{PYSTEPS_DATA} (`mrms/2019/06/10`)",
        "public domain",
        "`nowcast data convert mrms/ OUT --importer pysteps:mrms_grib --unit mm/h --name-pattern "
        "PrecipRate_00.00_%Y%m%d-%H%M%S.grib2 --crop "
        f"{row},{row + 480},{column},{column + 480}`",
        1.1,
        weight=0.3,
        speeds=(1, 2, 2, 3, 3, 4, 5),
        train=train,
        valid=valid,
        test=test,
    )


_TAASRAD = {
    "radar": "TAASRAD19",
    "public": "github.com/MPBA/TAASRAD19 (`umap_explorer`); data set 10.5281/zenodo.3591404",
    "terms": "no licence file there; terms of the data set not verified",
    "made": "`nowcast data convert` of the unpacked tiles as a stack, `--unit dBZ --zr 200,1.6`",
    "pixel_km": 3.75,
    "open": False,
}
_METEOSWISS = {
    "radar": "MeteoSwiss",
    "public": PYSTEPS_DATA + " (`radar/MeteoSwiss`)",
    "terms": "open since 2025 (CC BY 4.0), not established for these archived files",
    "made": "`nowcast data convert mch/ OUT --importer pysteps:mch_gif --unit mm "
    "--crop 80,560,115,595`",
    "pixel_km": 1.0,
    "open": False,
}

SOURCES: tuple[Source, ...] = (
    Source(
        "dwd",
        "DWD",
        "DWD RADOLAN YW, 190x228, 5 min",
        "pycomlink 0.6.0",
        "open data (GeoNutzV; credit Deutscher Wetterdienst)",
        "`nowcast data sample data/dwd`",
        1.0,
        train=tuple(f"201805{day}" for day in range(10, 17)),
        valid=("20180517",),
        test=("20180519", "20180520"),
        weight=3.0,
        speeds=(1, 1, 2, 3),
    ),
    Source(
        "dwd_ry_east_20210823",
        "DWD RY",
        "DWD RADOLAN RY, eastern Germany, an hour, 480x480, 5 min",
        "github.com/OpenSenseAction/mergeplg",
        "open data (GeoNutzV; credit Deutscher Wetterdienst)",
        "`nowcast data convert` of the netCDF, `--unit mm/h --crop 210,690,420,900`",
        1.0,
        test=("20210823",),
        frames=(5, 7),
    ),
    Source(
        "knmi_2010",
        "KNMI",
        "KNMI RAD_NL25_RAP_5min, 00:00-07:35 UTC, 480x480, 5 min",
        f"{PYSTEPS_DATA} (`radar/KNMI`) or KNMI's data platform",
        "CC0 or CC BY 4.0 on the platform",
        "`nowcast data convert knmi/ OUT --importer knmi --unit mm --crop 188,668,129,609`",
        1.0,
        train=("20100826",),
        weight=2.0,
    ),
    Source(
        "knmi_refl_2021",
        "KNMI",
        "KNMI reflectivity composite, winter evenings, 480x480, 5 min",
        "KNMI's data platform, by github.com/yunhao-tech/precipitation-forecast",
        "CC BY 4.0 on the platform",
        "`nowcast data convert knmi/ OUT --importer knmi --crop 150,630,130,610`",
        1.0,
        train=("202101",),
        test=("202102",),
        weight=2.0,
    ),
    Source(
        "taasrad64",
        about="TAASRAD19, Mt Macaion in the Alps, column maxima, 64x64, 5 min",
        train=("2015", "2016"),
        test=("2017",),
        weight=4.0,
        speeds=(1, 1, 1, 2, 3),
        **_TAASRAD,  # type: ignore[arg-type]
    ),
    Source(
        "taasrad64_valid",
        about="TAASRAD19, other runs of the same years, 64x64, 5 min",
        valid=("20",),
        **_TAASRAD,  # type: ignore[arg-type]
    ),
    _dpc("north", train=("2025",)),
    _dpc("centre", train=("2025",)),
    _dpc("sardinia", train=("2025",)),
    _dpc("northeast", valid=("2025",)),
    _dpc("sicily", test=("2025",)),
    *(
        _mrms(tile, train=("2019",))
        for tile in (
            *("r0760_c3500", "r0760_c3980", "r0760_c4460", "r1240_c3980", "r1240_c4460"),
            *("r1240_c4940", "r1720_c3980", "r1720_c4460", "r1720_c4940", "r2200_c3980"),
            *("r2200_c4460", "r2200_c4940"),
        )
    ),
    *(_mrms(tile, valid=("2019",)) for tile in ("r2680_c4460", "r2680_c4940")),
    *(_mrms(tile, test=("2019",)) for tile in ("r2200_c2540", "r2200_c3020")),
    Source(
        "meteoswiss",
        about="MeteoSwiss AQC, evenings, 480x480, 5 min, in no training",
        valid=("20150515", "20170131"),
        test=("20160711", "20160712"),
        **_METEOSWISS,  # type: ignore[arg-type]
    ),
)


def radars() -> list[str]:
    """Those that are trained on, in their order."""
    return list(dict.fromkeys(source.radar for source in SOURCES if source.train))


def write_lists(folder: Path, split: Split, days: Collection[str]) -> None:
    """Day lists in which one split has these days, with rain that is not known, and others none."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in SPLITS:
        write_days(folder, each, dict.fromkeys(days if each == split else (), math.nan))


def folder_name(radar: str) -> str:
    """A radar's name in those of variants."""
    return radar.lower().replace(" ", "-")


if __name__ == "__main__":
    for source in SOURCES:
        sys.stdout.write(
            f"{source.name}: {source.about}; from {source.public}\n    {source.made}\n"
        )
