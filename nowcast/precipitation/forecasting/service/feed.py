"""Which frames lie where another program writes them: in a tree, or as files of a radar."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.frames import (
    Moments,
    day_folders,
    frame_path,
    list_day,
    mask_path,
)
from nowcast.precipitation.archive.raw_files import may_be_radar
from nowcast.precipitation.archive.reader import RadarFrames
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.places import check_there
from nowcast.precipitation.forecasting.products.outlet import Say
from nowcast.precipitation.forecasting.service.future import Future, Now, State
from nowcast.precipitation.sources.feed.files import listed
from nowcast.precipitation.sources.feed.reader import Feed, Reading

Wait = Callable[[float], bool]


@runtime_checkable
class Listing(Protocol):
    """What is there now, and whether it is still written to."""

    def times(self, now: Now) -> Moments:
        """The times of the newest frames, ascending, without those of the future (`Future`).

        Raises:
            ConfigError, DataError, OSError: there is nothing to list now.
        """
        ...

    def state(self, moment: np.datetime64) -> State:
        """Of the files of a frame; raises OSError or FrameError where one is gone."""
        ...


class TreeListing:
    """Of a tree: the newest days, by the names of files.

    Args:
        source: of the frames.
        days: with frames, that are listed.
        say: tells the user, once, of a frame in another day's folder, or of the future.
    """

    def __init__(self, source: FrameSource, days: int, say: Say) -> None:
        self._source = source
        self._days = days
        self._say = say
        self._future = Future(source.archive.step, self.state, say)
        self._strays: set[Path] = set()

    def times(self, now: Now) -> Moments:
        """See `Listing`."""
        found: list[Moments] = []
        future: list[np.datetime64] = []
        strays: dict[Path, str] = {}
        for folder in reversed(day_folders(self._source.archive.root)):
            day = list_day(folder)
            strays |= {stray.path: stray.reason for stray in day.strays if stray.contradicts}
            past = self._future.are_past(day.moments, now)
            future += list(day.moments[~past])
            if past.any():
                found.insert(0, day.moments[past])
            if len(found) == self._days:
                break
        for path in strays.keys() - self._strays:
            self._say(f"{path}: passed over, {strays[path]}")
        self._strays = set(strays)
        return np.concatenate([*found, self._future.settle(future, now, bool(found))])

    def state(self, moment: np.datetime64) -> State:
        """See `Listing`: of the frame, and of its mask where that is used."""
        root = self._source.archive.root
        paths = [frame_path(root, moment)]
        if self._source.own:
            paths.append(mask_path(root, moment))
        return tuple((file.st_size, file.st_mtime_ns) for file in (path.stat() for path in paths))


class FileListing:
    """Of radar files as they come.

    Args:
        feed: reads them.
        say: tells the user, once, of a file that cannot be opened at two looks, or of the future.
    """

    def __init__(self, feed: Feed, say: Say) -> None:
        self._feed = feed
        self._say = say
        self._future = Future(feed.step, feed.state, say)
        self._faults: dict[Path, str] = {}
        self._said: dict[Path, str] = {}

    def times(self, now: Now) -> Moments:
        """See `Listing`."""
        moments = self._feed.refresh()
        before, self._faults = self._faults, self._feed.unreadable
        for path, fault in self._faults.items():
            if before.get(path) == fault != self._said.get(path):
                self._say(f"{path}: passed over, {fault}")
                self._said[path] = fault
        self._said = {path: fault for path, fault in self._said.items() if path in self._faults}
        past = self._future.are_past(moments, now)
        others = self._future.settle(moments[~past], now, bool(past.any()))
        return np.concatenate([moments[past], others])

    def state(self, moment: np.datetime64) -> State:
        """See `Listing`."""
        return self._feed.state(moment)


def listing_of(source: FrameSource, days: int, say: Say) -> Listing:
    """What lists the frames of a source; see `TreeListing` and `FileListing`."""
    if isinstance(source.archive, Feed):
        return FileListing(source.archive, say)
    return TreeListing(source, days, say)


def check_folder(root: Path) -> None:
    """Raise ConfigError if there is no folder at `root`."""
    if not root.is_dir():
        raise ConfigError(
            f"--watch: expected the folder of an archive, or of radar files, to follow, found none "
            f"at {root}; give the folder that holds radarPNG/, or the files"
        )


def opened_when_there(
    root: Path, every: float, wait: Wait, say: Say, reading: Reading | None = None
) -> RadarFrames | None:
    """The tree at `root`, or its radar files, as soon as there are frames that tell their step;
    None if told to stop.

    Args:
        root: a folder.
        every: seconds between looks.
        wait: lets so many seconds pass; True tells to stop.
        say: tells the user, once, that frames are waited for.
        reading: how radar files are to be read, where they leave it open.

    Raises:
        ConfigError: there is no such folder, or radar files need an option.
        DataError: as `Archive`.
    """
    check_folder(root)
    said = False
    while True:
        check_there([root], watching=True)
        try:
            return Archive(root)
        except ConfigError as error:
            found = error
        if may_be_radar(root):
            try:
                return Feed([root], reading)
            except DataError as error:  # the first files are not whole yet
                reason: Exception = error
            except ConfigError as error:
                if len(listed([root])) > 1:  # else its step comes with the next one
                    raise
                reason = error
        else:
            reason = found
        if not said:
            say(f"{reason}; waiting for frames")
            said = True
        if wait(every):
            return None
