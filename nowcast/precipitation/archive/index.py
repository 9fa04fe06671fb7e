"""Which times a tree holds, kept in the user's cache, so that opening lists no 600,000 names.

A file for each tree, named by its path, with one line for each run of frames one step apart. It
holds as long as the day folders have the same names, sizes and times; nothing is ever written into
the tree. Several processes may write one at once, since it is put in place in one move.
"""

import csv
import hashlib
import io
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from nowcast.core.storage.cache import cache_folder
from nowcast.core.storage.files import write_text
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.frames import Moments

COLUMNS = ("first", "step_minutes", "frames")
SETTLED_SECONDS = 2.0  # a folder changed this lately may change again without its time telling


def moments(root: Path) -> Moments:
    """All times that have a frame file, ascending, from the index if it is still true.

    Otherwise the tree is listed, in seconds, and the index written where there is a cache that can
    be written to; a tree that is still changing is not indexed.

    Raises:
        ConfigError, FrameError: as `frames.list_moments`.
    """
    stamp, changed = _stamp(root)
    path = index_path(root)
    indexed = None if path is None else _read(path, stamp)
    if indexed is not None:
        return indexed
    listed = frames.list_moments(root)
    if path is not None and time.time() - changed > SETTLED_SECONDS:
        with suppress(OSError):  # no room, or no right to write: the next one lists again
            write_text(path, _text(stamp, listed))
    return listed


def index_path(root: Path) -> Path | None:
    """Where the index of a tree lies, or would; None without a cache folder."""
    folder = cache_folder("index")
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return None if folder is None else folder / f"{name}.csv"


def _stamp(root: Path) -> tuple[str, float]:
    """A digest of what the index depends on, and when the tree last changed (seconds since 1970).

    Adding, removing or renaming a file changes its folder's time.
    """
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    changed = 0.0
    for folder in frames.day_folders(root):
        state = folder.stat()
        changed = max(changed, state.st_mtime_ns / 1e9)
        day = "/".join(folder.parts[-3:])
        digest.update(f"{day} {state.st_mtime_ns} {state.st_size}\n".encode())
    return digest.hexdigest(), changed


def _text(stamp: str, listed: Moments) -> str:
    step = commonest_gap(listed)
    ends = np.append(np.flatnonzero(np.diff(listed) != step), len(listed) - 1)
    firsts = np.append(0, ends[:-1] + 1)
    minutes = int(step / np.timedelta64(1, "m"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for first, last in zip(firsts, ends, strict=True):
        writer.writerow((listed[first], minutes, last - first + 1))
    return f"{_header(stamp, text.getvalue())}\n{text.getvalue()}"


def _header(stamp: str, body: str) -> str:
    return f"# nowcast index; tree {stamp}; lines {hashlib.sha256(body.encode()).hexdigest()}"


def commonest_gap(listed: Moments) -> np.timedelta64:
    """The commonest gap between neighbouring times; a minute where there is one alone."""
    if len(listed) < 2:
        return np.timedelta64(1, "m")
    gaps, counts = np.unique(np.diff(listed), return_counts=True)
    return np.timedelta64(gaps[counts.argmax()])


def _read(path: Path, stamp: str) -> Moments | None:
    """What an index says; None if there is none, or it is damaged or of another state of the
    tree."""
    try:
        header, _, body = path.read_text(encoding="utf-8").partition("\n")
        if header != _header(stamp, body):
            return None
        runs = []
        for row in csv.DictReader(io.StringIO(body)):
            first = np.datetime64(row["first"], "m")
            runs.append(first + int(row["step_minutes"]) * np.arange(int(row["frames"])))
        found: Moments = np.concatenate(runs)
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None  # derived: it is made anew
