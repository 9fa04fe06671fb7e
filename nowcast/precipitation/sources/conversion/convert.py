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
from nowcast.core.execution.executor import Executor
from nowcast.core.storage.files import refused
from nowcast.precipitation.archive.episodes import missing_frames
from nowcast.precipitation.archive.masks import VALID_SHARE, ValidCounts
from nowcast.precipitation.archive.raw_files import MOST_LISTED, PACK, files_under
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.conversion.appending import ArchiveAppender
from nowcast.precipitation.sources.conversion.damage import (
    Fields,
    Skipped,
    damaged_files,
    write_skipped,
)
from nowcast.precipitation.sources.conversion.parts import Conversion, Parts
from nowcast.precipitation.sources.conversion.plan import Frame, Plan, plan
from nowcast.precipitation.sources.conversion.target import Target, check_target
from nowcast.precipitation.sources.conversion.written import Written, history, skipped_lines
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.table import importer

Progress = Callable[[int, int], None]
READ_AHEAD = 4  # fields


def convert(
    source: Path,
    root: Path,
    importer_name: str | None,
    request: Request,
    target: Target,
    progress: Progress | None = None,
    executor: Executor | None = None,
    parts: int = 1,
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
        executor: reads the fields, in so many parts that are kept beside `root` until all are
            whole; None: this process does.
        parts: see `executor`.

    Raises:
        ConfigError: an option is out of range or missing, or there already is an archive.
        DataError: a file is damaged or holds what cannot be rain, or the disk is full; it names
            file and position.
        RunError: parts failed; told once all others are done, and the same call goes on.
        signals.Interrupted: a signal came while an executor was at work; the same call goes on.
    """
    check_target(request, target)
    importer_name = importer_name or recognised(source)
    damaged = damaged_files(importer_name, source, request) if target.skip_damaged else {}
    request = replace(request, skip=frozenset(damaged))
    found = DECODER.sources(importer_name, source, request)
    many = importer(importer_name).many
    folders = [root / one.name if many else root for one in found]
    left_out = list(damaged.values())
    done: Parts | None = None
    if executor is not None:
        conversion = Conversion(importer_name, source, Path.cwd(), request)
        done = Parts(root, conversion)
        plans = [_planned(one, folder, target) for one, folder in zip(found, folders, strict=True)]
        done.do(plans, executor, parts)
    total, before = sum(map(len, found)), 0
    written = []
    for number, (one, folder) in enumerate(zip(found, folders, strict=True)):

        def count(frames: int, start: int = before) -> None:
            if progress is not None:
                progress(start + frames, total)

        try:
            if done is not None:
                skipped = left_out + done.skipped(number)
                made = _write(plans[number], skipped, done.frames(number), importer_name, count)
            else:
                made = _converted(one, folder, target, left_out, importer_name, count)
            written.append(made)
        except OSError as error:
            before_it = f"; {len(written)} archives before it are whole" if written else ""
            raise DataError(
                f"{refused(folder, error)}. What was begun at {folder} is removed{before_it}: "
                "convert again"
            ) from error
        before += len(one)
    if done is not None:
        done.remove()
    return written


def _planned(source: Source, root: Path, target: Target) -> Plan:
    fields = Fields(source, target.skip_damaged, [])
    return plan(source, fields, iter(fields), root, target)


def _converted(
    source: Source,
    root: Path,
    target: Target,
    left_out: list[Skipped],
    importer_name: str,
    count: Callable[[int], None],
) -> Written:
    """Convert a source in this process."""
    fields = Fields(source, target.skip_damaged, list(left_out))
    with closing(ahead(fields, READ_AHEAD)) as left:
        planned = plan(source, fields, left, root, target)
        head = planned.head, planned.maker.first
        frames = (planned.frame(*field) for field in chain([head], left))
        return _write(planned, fields.skipped, frames, importer_name, count)


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
    plan: Plan,
    skipped: list[Skipped],
    frames: Iterator[Frame],
    importer_name: str,
    count: Callable[[int], None],
) -> Written:
    """Write what was planned; `skipped` lists what could not be read once all frames are taken."""
    root, description, maker = plan.root, plan.description, plan.maker
    valid = ValidCounts((description.height, description.width))
    times: list[np.datetime64] = []
    appender = ArchiveAppender(root, description) if plan.adds else None
    empty = 0
    with ArchiveWriter(root, description) if appender is None else appender.staged as writer:
        for frame in frames:
            times.append(frame.time)
            if frame.mask.any():
                if appender is None or appender.is_new(frame.time, frame.levels(), frame.mask):
                    frame.write_to(writer)
                valid.add(frame.mask)
            else:
                empty += 1
            count(frame.position + 1)
        if not len(times) - empty:
            raise DataError(
                f"{maker.named}: expected data in some frame, found none"
                f"{' inside --crop' if plan.target.crop else ''}; check --no-data, --crop and the "
                "file"
            )
        # The description is written last, so that it can say what was found.
        entries = (
            *history(plan, importer_name, len(times) - empty, empty),
            *skipped_lines(skipped),
            *(() if plan.grid_fault is None else (f"grid not stated: {plan.grid_fault}",)),
        )
        written = Written(
            root=root,
            frames=len(times) - empty,
            empty=empty,
            missing=missing_frames(np.array(times), np.timedelta64(description.step_minutes, "m")),
            usable_share=0.0,
            valid_share=plan.target.valid_share or VALID_SHARE,
            description=description,
            grid_fault=plan.grid_fault,
            skipped=tuple(skipped),
        )
        if appender is not None:
            unlisted = tuple(appender.days_of_no_list())
            appender.finish(written.valid_share, entries)
            write_skipped(root, skipped)
            return replace(
                written,
                frames=len(appender.added),
                there=appender.kept,
                unlisted=unlisted,
                usable_share=appender.usable_share,
                description=appender.description,
            )
        write_skipped(writer.part, skipped)
        writer.description = replace(description, history=entries)
        usable = valid.usable(written.valid_share)
        writer.finish(usable, None)
    return replace(written, usable_share=float(usable.mean()), description=writer.description)
