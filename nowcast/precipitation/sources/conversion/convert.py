"""Other people's radar as an archive: read by an importer, checked, cut and written.

No frame is stretched: it is cropped, or averaged over whole blocks (`cut`). What an importer reads
(`table`) in a process apart (`apart`) is checked frame by frame (`values`) before it is written.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.execution.ahead import ahead
from nowcast.core.storage.files import refused
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.episodes import missing_frames
from nowcast.precipitation.archive.masks import VALID_SHARE, ValidCounts
from nowcast.precipitation.archive.raw_files import MOST_LISTED, PACK, files_under
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.conversion.appending import ArchiveAppender
from nowcast.precipitation.sources.conversion.clock import step_between
from nowcast.precipitation.sources.conversion.cut import Cut
from nowcast.precipitation.sources.conversion.damage import (
    Fields,
    damaged_files,
    write_skipped,
)
from nowcast.precipitation.sources.conversion.target import Target, check_target
from nowcast.precipitation.sources.conversion.values import (
    accumulation,
    check_alike,
    check_units,
    checked,
)
from nowcast.precipitation.sources.conversion.written import Written, history, skipped_lines
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.table import importer
from nowcast.precipitation.units import Calibration

Progress = Callable[[int, int], None]
READ_AHEAD = 4  # fields


def convert(
    source: Path,
    root: Path,
    importer_name: str | None,
    request: Request,
    target: Target,
    progress: Progress | None = None,
) -> list[Written]:
    """Turn radar in another format into archives in the HKO-7 layout.

    One archive at `root`; for an importer of many, one for each of its sources at `root`/name.
    An archive is in its folder only when it is whole. Those made before an error stay.

    Args:
        source: file or folder to read.
        root: folder to make.
        importer_name: see `table`; None: the one for the content of the first file.
        request: what the user says of the source.
        target: what to make of it.
        progress: called with (frames written, frames in all).

    Raises:
        ConfigError: an option is out of range or missing, or there already is an archive.
        DataError: a file is damaged or holds what cannot be rain, or the disk is full; it names
            file and position.
    """
    check_target(request, target)
    importer_name = importer_name or recognised(source)
    damaged = damaged_files(importer_name, source, request) if target.skip_damaged else {}
    request = replace(request, skip=frozenset(damaged))
    found = DECODER.sources(importer_name, source, request)
    many = importer(importer_name).many
    total, done = sum(map(len, found)), 0
    written = []
    for one in found:
        before = done

        def count(frames: int, start: int = before) -> None:
            if progress is not None:
                progress(start + frames, total)

        folder = root / one.name if many else root
        fields = Fields(one, target.skip_damaged, list(damaged.values()))
        try:
            with closing(ahead(fields, READ_AHEAD)) as left:
                made = _write(one, fields, left, folder, target, importer_name, count)
            written.append(made)
        except OSError as error:
            before_it = f"; {len(written)} archives before it are whole" if written else ""
            raise DataError(
                f"{refused(folder, error)}. What was begun at {folder} is removed{before_it}: "
                "convert again"
            ) from error
        done += len(one)
    return written


def recognised(source: Path) -> str:
    """The importer for a source, by the first of its files that is radar."""
    fault = f"{source}: expected a file or a folder to convert, found nothing there"
    for path in files_under(source, MOST_LISTED):
        try:
            name = DECODER.recognised(path)
        except DataError as error:
            fault = str(error)
            continue
        if name != PACK:
            return name
        fault = f"{path}: expected radar files, found a packed archive"
    raise ConfigError(fault)


def _write(
    source: Source,
    fields: Fields,
    left: Iterator[tuple[int, Field]],
    root: Path,
    target: Target,
    importer_name: str,
    count: Callable[[int], None],
) -> Written:
    if not len(source):
        raise DataError(f"{source.name}: expected frames, found none")
    there = _description_of(root) if target.append else None
    if there is not None:
        target = _as_there(target, there)
    step = step_between(source, target.step_minutes)
    head = next(left, None)
    if head is None:
        raise DataError(
            f"{source.name}: expected a frame that can be read, found {len(fields.skipped)} that "
            f"cannot, the first {fields.skipped[0].file}: {fields.skipped[0].reason}"
        )
    first, named = head[1], source.where(head[0])
    check_units(first, named, target)
    if first.unit == "VIL" and (
        target.block_mean > 1 or (target.calibration is not None and there is None)
    ):
        raise ConfigError(
            "--block-mean, --zr: SEVIR's VIL levels are kept as they are; crop them or leave it out"
        )
    cut = Cut(named, first.values.shape, target)
    calibration = target.calibration or Calibration()
    minutes = accumulation(first, named, target)
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
        valid_share=target.valid_share or VALID_SHARE,
    )
    fault = description.grid_fault
    if fault is not None:
        description = replace(description, grid=None)
    valid = ValidCounts((cut.height, cut.width))
    times: list[np.datetime64] = []
    empty = 0
    appender = None if there is None else ArchiveAppender(root, description)
    with ArchiveWriter(root, description) if appender is None else appender.staged as writer:
        for position, field in chain([head], left):
            where = source.where(position)
            check_alike(field, first, where)
            if accumulation(field, where, target) != minutes:
                raise DataError(
                    f"{where}: expected a sum over {minutes:g} minutes as in {named}, found "
                    f"{field.accumulation_minutes:g}"
                )
            levels, mask = cut.levels(checked(field, minutes, where, target), field.unit)
            times.append(field.time)
            if mask.any():
                if appender is None or appender.is_new(field.time, levels, mask):
                    writer.write(field.time, levels, mask)
                valid.add(mask)
            else:
                empty += 1
            count(position + 1)
        frames = len(times) - empty
        if not frames:
            raise DataError(
                f"{named}: expected data in some frame, found none"
                f"{' inside --crop' if target.crop else ''}; check --no-data, --crop and the file"
            )
        # The description is written last, so that it can say what was found.
        lines = history(source, importer_name, minutes, first, cut, target, frames, empty)
        entries = (
            *lines,
            *skipped_lines(fields.skipped),
            *(() if fault is None else (f"grid not stated: {fault}",)),
        )
        written = Written(
            root=root,
            frames=frames,
            empty=empty,
            missing=missing_frames(np.array(times), np.timedelta64(step, "m")),
            usable_share=0.0,
            valid_share=target.valid_share or VALID_SHARE,
            description=description,
            grid_fault=fault,
            skipped=tuple(fields.skipped),
        )
        if appender is not None:
            unlisted = tuple(appender.days_of_no_list())
            appender.finish(written.valid_share, entries)
            write_skipped(root, fields.skipped)
            return replace(
                written,
                frames=len(appender.added),
                there=appender.kept,
                unlisted=unlisted,
                usable_share=appender.usable_share,
                description=appender.description,
            )
        write_skipped(writer.part, fields.skipped)
        writer.description = replace(description, history=entries)
        usable = valid.usable(written.valid_share)
        writer.finish(usable, None)
    return replace(written, usable_share=float(usable.mean()), description=writer.description)


def _description_of(root: Path) -> Description | None:
    """Of the archive that frames are added to; None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    if not (root / DESCRIPTION).is_file():
        raise ConfigError(
            f"--append: expected an archive that `nowcast data convert` made, found no "
            f"{DESCRIPTION} in {root}; give the one to add to, or convert into a new folder"
        )
    return Archive(root).description


def _as_there(target: Target, there: Description) -> Target:
    """What the user leaves open is as in the archive that frames are added to."""
    return replace(
        target,
        calibration=target.calibration or there.calibration,
        step_minutes=target.step_minutes or there.step_minutes,
        valid_share=target.valid_share or there.valid_share,
    )
