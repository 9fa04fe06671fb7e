"""What the names of an archive's files give away, without opening one."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.episodes import missing_in_gaps
from nowcast.precipitation.archive.frames import DayFolder, Moments, Stray
from nowcast.precipitation.preparation.doctor.findings import Finding, relative

FRAME_LIKE = re.compile(r"RAD(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})\.png", re.ASCII | re.I)
MASK_NAME = re.compile(r"RAD\d{12}\.mask", re.ASCII)
LEVELS = (re.compile(r"\d{4}", re.ASCII), re.compile(r"\d{2}", re.ASCII))  # year; month and day


def stray_findings(root: Path, listed: Sequence[DayFolder], moments: Moments) -> Iterator[Finding]:
    """Files that no reader reads: in a wrong folder, off the minute, a second file of a moment."""
    for path in _outside_days(root / frames.FRAME_FOLDER):
        yield Finding("stray file", relative(path, root), "in no folder YYYY/MM/DD; it is not read")
    for day in listed:
        for stray in sorted(day.strays, key=lambda stray: stray.path):
            yield _stray_finding(stray, root, moments)


def grid_findings(
    listed: Sequence[DayFolder], moments: Moments, step: np.timedelta64
) -> Iterator[Finding]:
    """Times off the grid, and days with gaps.

    The grid of a day has the archive's step and begins at the minute that most of its frames
    agree on (where none leads, most of the archive's): radars change their timetable between days.
    Between episodes nothing is missing (`episodes`).
    """
    minutes = int(step / np.timedelta64(1, "m"))
    overall = np.bincount(moments.astype(np.int64) % minutes, minlength=minutes)
    for day in listed:
        if not len(day.moments):
            continue
        phases = day.moments.astype(np.int64) % minutes
        votes = np.bincount(phases, minlength=minutes)
        leading = np.where(votes == votes.max(), overall, -1)
        phase = int(leading.argmax())
        off = day.moments[phases != phase]
        for moment in off:
            detail = (
                f"not on the day's grid of {minutes} minutes from minute {phase} on; remove it or "
                "rename it to its true time"
            )
            yield Finding("off-grid time", str(moment), detail, np.array([moment]))
        on = day.moments[phases == phase]
        missing = missing_in_gaps(on, step)
        if missing.any():
            whole = len(on) + int(missing.sum())
            detail = (
                f"{len(on)} of {whole} frames from {_clock(on[0])} to {_clock(on[-1])} UTC, up to "
                f"{missing.max()} in a row missing"
            )
            yield Finding("day with gaps", _day(on[0]), detail)


def mask_findings(root: Path, listed: Sequence[DayFolder]) -> Iterator[Finding]:
    """Masks that have no frame, and what else lies among the masks."""
    masks = root / frames.MASK_FOLDER
    for path in _outside_days(masks):
        yield Finding("stray file", relative(path, root), "in no folder YYYY/MM/DD; it is not read")
    wanted = {day.path.parts[-3:]: day.moments for day in listed}
    for folder in sorted(masks.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]")):
        moments = wanted.get(folder.parts[-3:], np.array([], "datetime64[m]"))
        known = {frames.mask_path(root, moment).name for moment in moments}
        for name in sorted(set(_names(folder)) - known):
            where = relative(folder / name, root)
            if MASK_NAME.fullmatch(name):
                yield Finding("mask without frame", where, "there is no frame of this name")
            else:
                yield Finding("stray file", where, "not named RADyymmddHHMM00.mask")


def _stray_finding(stray: Stray, root: Path, moments: Moments) -> Finding:
    where = relative(stray.path, root)
    moment, seconds = _named_moment(stray)
    if moment is not None and seconds == "00" and moment in moments:
        detail = f"another file of {moment} UTC is in its place; find out which is right"
        return Finding("moment twice", where, detail, np.array([moment]))
    if stray.contradicts:
        return Finding("wrong folder", where, f"{stray.reason}; move, rename or remove it")
    if moment is not None and seconds != "00":
        return Finding("off-grid time", where, f"{seconds} seconds past the minute; it is not read")
    return Finding("stray file", where, f"{stray.reason}; it is not read")


def _named_moment(stray: Stray) -> tuple[np.datetime64 | None, str]:
    """The minute that a stray's name says, in the century of its folder, and the seconds."""
    match = FRAME_LIKE.fullmatch(stray.path.name)
    if match is None:
        return None, ""
    yy, mm, dd, hour, minute, seconds = match.groups()
    century = stray.path.parts[-4][:2]
    try:
        return np.datetime64(f"{century}{yy}-{mm}-{dd}T{hour}:{minute}", "m"), seconds
    except ValueError:
        return None, seconds


def _outside_days(folder: Path, depth: int = 0) -> Iterator[Path]:
    """What lies beside the folders of years, months and days, ascending."""
    for name in _names(folder):
        path = folder / name
        if LEVELS[min(depth, 1)].fullmatch(name) is None:
            yield path
        elif depth < 2:
            if path.is_dir():
                yield from _outside_days(path, depth + 1)
            else:
                yield path


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:  # a file, or not ours to read: what should lie in it is found missing
        return []


def _clock(moment: np.datetime64) -> str:
    return str(moment)[11:16]


def _day(moment: np.datetime64) -> str:
    return str(moment)[:10].replace("-", "")
