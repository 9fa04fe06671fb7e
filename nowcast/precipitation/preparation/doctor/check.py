"""The data doctor: reads an archive to the last byte and says what is wrong with it.

It finds what it looks for and is not stopped by it: where `Archive` raises, it goes on with what
can still be made out.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.system.machine import usable_cpus
from nowcast.core.system.threads import in_order
from nowcast.precipitation.archive import frames, masks
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.index import commonest_gap
from nowcast.precipitation.preparation.doctor.day import Expected, read_day
from nowcast.precipitation.preparation.doctor.findings import KINDS, Finding, Report, printable
from nowcast.precipitation.preparation.doctor.lists import (
    copy_findings,
    frozen_findings,
    list_findings,
    read_lists,
)
from nowcast.precipitation.preparation.doctor.names import (
    grid_findings,
    mask_findings,
    stray_findings,
)
from nowcast.precipitation.units import PIXEL_LEVELS, THRESHOLDS_MM_H, Calibration

WET_MM_H = THRESHOLDS_MM_H[0]  # a frame is not dry if an unmasked pixel reaches this
HEADERS_TRIED = 25  # frames that vote on the size where none is stated


def check_archive(
    root: Path,
    lists: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Read every frame and mask of an archive and report what is wrong; `KINDS` are looked for.

    Memory: a few frames a thread, and some 150 bytes for each frame of the archive.

    Args:
        root: as `archive.Archive` takes it.
        lists: as `archive.Archive` takes it.
        workers: threads that read; as many as there are processors if None.
        progress: called with (frames read, frames in all).

    Raises:
        ConfigError: there is no archive at `root`, or `workers` is less than 1.
    """
    root = frames.locate(root)
    lists = frames.locate_lists(root) if lists is None else lists
    listed = [frames.list_day(folder) for folder in frames.day_folders(root)]
    moments = np.concatenate([np.array([], "datetime64[m]"), *(day.moments for day in listed)])
    findings = list(stray_findings(root, listed, moments))
    if not len(moments):
        detail = "expected frames named YYYY/MM/DD/RADyymmddHHMM00.png, found none"
        findings.append(Finding("no frames", frames.FRAME_FOLDER, detail))
    description, shape, step = _described(root, moments, findings)
    if step is not None:
        findings += grid_findings(listed, moments, step)
    has_masks = (root / frames.MASK_FOLDER).is_dir()
    if has_masks:
        findings += mask_findings(root, listed)
    else:
        detail = f"no {frames.MASK_FOLDER}/: set data.masks: exclude"
        findings.append(Finding("no masks", frames.MASK_FOLDER, detail))
    usable = _usable(lists, shape, findings)
    days, of_lists = read_lists(root, lists)
    findings += of_lists

    expected = Expected(root, shape, usable, _wet_level(description), has_masks)
    digests = np.zeros(len(moments), dtype=np.int64)
    wet = np.zeros(len(moments), dtype=bool)
    rainy = np.zeros(len(moments), dtype=bool)
    done = 0
    whole = [day for day in listed if len(day.moments)]
    workers = usable_cpus() if workers is None else workers
    for reading in in_order(partial(read_day, expected=expected), whole, workers):
        part = slice(done, done + len(reading.digests))
        digests[part], wet[part], rainy[part] = reading.digests, reading.wet, reading.rainy
        findings += reading.findings
        done = part.stop
        if progress is not None:
            progress(done, len(moments))

    if step is not None:
        findings += frozen_findings(moments, digests, wet, step)
    findings += list_findings(days, moments, wet, WET_MM_H)
    findings += copy_findings(days, moments, digests, rainy)
    order = list(KINDS)
    findings.sort(key=lambda finding: order.index(finding.kind))
    return Report(root, len(whole), len(moments), findings)


def _described(
    root: Path, moments: Moments, findings: list[Finding]
) -> tuple[Description | None, tuple[int, int] | None, np.timedelta64 | None]:
    """The description, frame size and step; what is not stated is read off the frames."""
    path = root / DESCRIPTION
    shape = _commonest_shape(root, moments)
    step = commonest_gap(moments) if len(moments) > 1 else None
    if not os.path.lexists(path):
        if step is None and len(moments):
            detail = f"the step cannot be read off a single frame; write it into {DESCRIPTION}"
            findings.append(Finding("bad description", DESCRIPTION, detail))
        return None, shape, step
    try:
        description = Description.from_json(path.read_text())
        if _wet_level(description) > PIXEL_LEVELS:
            raise ValueError(f"no pixel reaches {WET_MM_H:g} mm/h with this Z-R relation")
    except (ValueError, ArithmeticError, OSError) as error:
        findings.append(Finding("bad description", DESCRIPTION, printable(str(error))))
        return None, shape, step
    stated = description.height, description.width
    return description, stated, np.timedelta64(description.step_minutes, "m")


def _commonest_shape(root: Path, moments: Moments) -> tuple[int, int] | None:
    sizes: Counter[tuple[int, int]] = Counter()
    for moment in moments[:: max(1, len(moments) // HEADERS_TRIED)]:
        try:
            sizes[frames.frame_shape(frames.frame_path(root, moment))] += 1
        except FrameError:  # found when all are read
            continue
    return sizes.most_common(1)[0][0] if sizes else None


def _usable(
    lists: Path, shape: tuple[int, int] | None, findings: list[Finding]
) -> Bool[np.ndarray, "height width"] | None:
    path = masks.exclude_path(lists)
    if shape is None:
        return None
    try:
        return masks.read_exclude(lists, shape)
    except ConfigError:
        detail = "no exclude mask: set data.masks: frame"
        findings.append(Finding("no exclude mask", path.name, detail))
    except DataError as error:
        detail = printable(str(error).removeprefix(f"{path}: "))
        findings.append(Finding("bad exclude mask", path.name, detail))
    return None


def _wet_level(description: Description | None) -> int:
    with np.errstate(all="ignore"):  # a Z-R relation may be absurd
        calibration = Calibration()
        if description is not None:
            calibration = description.calibration
        rate_mm_h = calibration.rate_by_level()
    return int(np.argmax(rate_mm_h >= WET_MM_H)) or PIXEL_LEVELS + 1
