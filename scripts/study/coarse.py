"""Other radars in the shape of the study's own: the middle of their frames, in coarser pixels.

``python -m scripts.study.coarse ARCHIVES OUT`` makes each of `ABROAD` that is there; what is made
is not made again. No test day of a release is among them.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.sources.conversion.cut import Cut
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from scripts.release.sources import SOURCES, Source

SIDE = 64  # pixels


@dataclass(frozen=True)
class Abroad:
    """An archive that no run of the study has trained on.

    Args:
        name: of the archive, in `scripts.release.sources`.
        block: pixels a side whose mean is one of the study's.
    """

    name: str
    block: int

    @property
    def source(self) -> Source:
        """What is known of it."""
        return next(source for source in SOURCES if source.name == self.name)

    @property
    def radar(self) -> str:
        """Archives of one count as one in a mean over radars."""
        return self.source.radar

    def days(self, there: set[str]) -> list[str]:
        """Those that are used, of the days that are there."""
        return sorted({*self.source.days("train", there), *self.source.days("valid", there)})


ABROAD = (
    Abroad("dwd", 2),
    Abroad("knmi_2010", 4),
    Abroad("knmi_refl_2021", 4),
    Abroad("dpc_north_20250416", 4),
    Abroad("dpc_centre_20250416", 4),
    Abroad("dpc_sardinia_20250416", 4),
    Abroad("dpc_northeast_20250416", 4),
    Abroad("meteoswiss", 4),
    Abroad("mrms_r2680_c4460", 4),
    Abroad("mrms_r2680_c4940", 4),
)


def made(abroad: Abroad, archives: Path, out: Path) -> Path | None:
    """Its archive, made if it is not there yet; None where the original is not."""
    days = abroad.days(abroad.source.found(archives))
    if not days:
        return None
    if not (out / abroad.name).exists():
        _make(abroad, open_archive(archives / abroad.name), days, out / abroad.name)
    return out / abroad.name


def _make(abroad: Abroad, archive: ArchiveReader, days: list[str], root: Path) -> None:
    height, width = archive.shape
    reach = SIDE * abroad.block
    top, left = (height - reach) // 2, (width - reach) // 2
    target = Target(
        calibration=archive.calibration,
        crop=(top, top + reach, left, left + reach),
        block_mean=abroad.block,
    )
    cut = Cut(str(archive.root), (height, width), target)
    described = replace(
        archive.description,
        height=SIDE,
        width=SIDE,
        grid=cut.grid(archive.description.grid),
        history=(
            *archive.description.history,
            f"middle {reach}x{reach} pixels, means of {abroad.block}x{abroad.block}",
        ),
    )
    rates = archive.calibration.rate_by_level()
    whole = {day: float("nan") for day in days}
    with ArchiveWriter(root, described) as writer:
        for moment in archive.moments:
            if np.datetime_as_string(moment, "D").replace("-", "") not in whole:
                continue
            try:
                levels, mask = archive.frame(moment), archive.mask(moment)
            except FrameError:
                continue  # as if it were not there
            values = np.where(mask, rates[levels], np.nan)
            writer.write(moment, *cut.levels(values, "mm_h"))
        everywhere = np.ones((SIDE, SIDE), dtype=bool)  # the masks of frames say what is missing
        writer.finish(everywhere, {split: whole if split == "valid" else {} for split in SPLITS})


if __name__ == "__main__":
    archives, out = map(Path, sys.argv[1:3])
    for abroad in ABROAD:
        sys.stdout.write(f"{abroad.name}: {made(abroad, archives, out) or 'not there'}\n")
