"""Other people's radar as an archive: read by an importer, checked, cut and written.

No frame is stretched: it is cropped, or averaged over whole blocks (`cut`). What an importer reads
(`importers`) is checked frame by frame (`values`) before it is written.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.files import refused
from nowcast.precipitation.conversion.clock import step_between
from nowcast.precipitation.conversion.cut import Cut
from nowcast.precipitation.conversion.target import Target, check_target
from nowcast.precipitation.conversion.values import accumulation, check_alike, check_units, checked
from nowcast.precipitation.conversion.written import Written, history
from nowcast.precipitation.description import Description
from nowcast.precipitation.episodes import missing_frames
from nowcast.precipitation.importers.field import Request, Source
from nowcast.precipitation.importers.table import importer, sources
from nowcast.precipitation.masks import ValidCounts
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.writer import ArchiveWriter

Progress = Callable[[int, int], None]


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
    check_target(request, target)
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
                f"{refused(place, error)}. What was begun at {place} is removed{made}: convert "
                "again"
            ) from error
        done += len(one)
    return written


def _write(
    source: Source,
    root: Path,
    target: Target,
    importer_name: str,
    count: Callable[[int], None],
) -> Written:
    if not len(source):
        raise DataError(f"{source.name}: expected frames, found none")
    step = step_between(source, target.step_minutes)
    first = source.read(0)
    check_units(first, source.where(0), target)
    if first.unit == "VIL" and (target.block_mean > 1 or target.calibration is not None):
        raise ConfigError(
            "--block-mean, --zr: SEVIR's VIL levels are kept as they are; crop them or leave it out"
        )
    cut = Cut(source.where(0), first.values.shape, target)
    calibration = target.calibration or Calibration()
    minutes = accumulation(first, source.where(0), target)
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
    valid = ValidCounts((cut.height, cut.width))
    frames = empty = 0
    with ArchiveWriter(root, description) as writer:
        for position, field in enumerate(source):
            where = source.where(position)
            check_alike(field, first, where)
            if accumulation(field, where, target) != minutes:
                raise DataError(
                    f"{where}: expected a sum over {minutes:g} minutes as in {source.where(0)}, "
                    f"found {field.accumulation_minutes:g}"
                )
            levels, mask = cut.pixels(checked(field, minutes, where, target), field.unit)
            if mask.any():
                writer.write(field.moment, levels, mask)
                valid.add(mask)
                frames += 1
            else:
                empty += 1
            count(position + 1)
        if not frames:
            raise DataError(
                f"{source.where(0)}: expected data in some frame, found none"
                f"{' inside --crop' if target.crop else ''}; check --no-data, --crop and the file"
            )
        # The description is written last, so that it can say what was found.
        writer.description = replace(
            description,
            history=tuple(
                history(source, importer_name, minutes, first, cut, target, frames, empty)
            ),
        )
        usable = valid.usable(target.valid_share)
        writer.finish(usable, None)
    missing = missing_frames(source.moments, np.timedelta64(step, "m"))
    share = float(usable.mean())
    return Written(root, frames, empty, missing, share, target.valid_share, writer.description)
