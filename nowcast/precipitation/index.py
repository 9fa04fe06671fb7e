"""Which moments a tree holds, in a small file beside it, so that opening lists no 600,000 names.

``nowcast-index.csv`` has one line for each run of frames one step apart, with its split and its
episode. It is derived, and made anew whenever the tree's folders or the lists have changed since.
"""

import csv
import hashlib
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.files import write_text
from nowcast.precipitation import days, frames
from nowcast.precipitation.days import SPLITS, Split
from nowcast.precipitation.frames import Moments

INDEX = "nowcast-index.csv"
COLUMNS = ("first", "last", "step_minutes", "frames", "split", "episode")
EPISODE_GAP_STEPS = 6  # a longer gap parts two episodes: nothing is missing there
SETTLED_SECONDS = 2.0  # a folder changed this lately may change again without its time telling


def moments(root: Path, lists: Path) -> Moments:
    """All moments that have a frame file, ascending, from the index if it is still true.

    Otherwise the tree is listed, in seconds, and the index written where the folder can be written
    to; a tree that is still changing is not indexed.

    Raises:
        ConfigError, FrameError: as `frames.list_moments`.
    """
    stamp, changed = _stamp(root, lists)
    path = root / INDEX
    found = _read(path, stamp)
    if found is not None:
        return found
    listed = frames.list_moments(root)
    if time.time() - changed > SETTLED_SECONDS and os.access(root, os.W_OK):
        text = _text(stamp, listed, _splits(lists))
        write_text(path, text)
    return listed


def _stamp(root: Path, lists: Path) -> tuple[str, float]:
    """A digest of what the index depends on, and when the tree last changed (seconds since 1970).

    Adding, removing or renaming a file changes its folder's time.
    """
    digest = hashlib.sha256()
    changed = 0.0
    for folder in frames.day_folders(root):
        written = folder.stat().st_mtime_ns
        changed = max(changed, written / 1e9)
        digest.update(f"{'/'.join(folder.parts[-3:])} {written}\n".encode())
    for split in SPLITS:
        path = days.days_path(lists, split)
        digest.update(path.read_bytes() if path.is_file() else b"none")
    return digest.hexdigest(), changed


def _splits(lists: Path) -> Mapping[Split, Mapping[str, float]]:
    try:
        return days.read_splits(lists)
    except (ConfigError, DataError):
        return {}  # said when they are used


def _text(stamp: str, listed: Moments, splits: Mapping[Split, Mapping[str, float]]) -> str:
    step = commonest_gap(listed)
    names, part = _split_of_day(listed, splits)
    gaps = np.diff(listed)
    apart = gaps != step
    ends = np.append(np.flatnonzero(apart | (np.diff(part) != 0)), len(listed) - 1)
    firsts = np.append(0, ends[:-1] + 1)
    episode = np.append(0, np.cumsum(gaps > EPISODE_GAP_STEPS * step)) + 1
    minutes = int(step / np.timedelta64(1, "m"))
    text = io.StringIO()
    text.write(f"# nowcast index of {len(listed)} frames; made anew when this changes: {stamp}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for first, last in zip(firsts, ends, strict=True):
        writer.writerow(
            (
                listed[first],
                listed[last],
                minutes,
                last - first + 1,
                names[part[first]],
                episode[first],
            )
        )
    return text.getvalue()


def _split_of_day(
    listed: Moments, splits: Mapping[Split, Mapping[str, float]]
) -> tuple[list[str], Int64[np.ndarray, " moment"]]:
    """Names of the splits with "" for none, and which of them each moment belongs to."""
    days_of, where = np.unique(listed.astype("datetime64[D]"), return_inverse=True)
    names = ["", *SPLITS]
    of_day = {day: name for name, members in splits.items() for day in members}
    codes = [names.index(of_day.get(str(day).replace("-", ""), "")) for day in days_of]
    return names, np.array(codes, dtype=np.int64)[where]


def commonest_gap(listed: Moments) -> np.timedelta64:
    """The commonest time between neighbouring moments; a minute where there is one alone."""
    if len(listed) < 2:
        return np.timedelta64(1, "m")
    gaps, counts = np.unique(np.diff(listed), return_counts=True)
    return np.timedelta64(gaps[counts.argmax()])


def _read(path: Path, stamp: str) -> Moments | None:
    """What an index says; None if there is none, or it is of another state of the tree."""
    try:
        header, *lines = path.read_text().splitlines()
        if not header.endswith(stamp):
            return None
        runs = []
        for row in csv.DictReader(lines):
            first = np.datetime64(row["first"], "m")
            runs.append(first + int(row["step_minutes"]) * np.arange(int(row["frames"])))
        found: Moments = np.concatenate(runs)
        return found if header.startswith(f"# nowcast index of {len(found)} ") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # derived: it is made anew
