"""Which frames lie in a tree that another program writes to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import (
    Moments,
    day_folders,
    frame_path,
    list_day,
    mask_path,
)
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.places import check_there
from nowcast.precipitation.forecasting.products.outlet import Say

Wait = Callable[[float], bool]


class TreeFeed:
    """The newest frames of a tree by their names, and whether one is still written to.

    Args:
        source: of the frames.
        days: with frames that are listed, the newest.
        say: tells the user of a frame in another day's folder, once.
    """

    def __init__(self, source: FrameSource, days: int, say: Say) -> None:
        self.source = source
        self._days = days
        self._say = say
        self._strays: set[Path] = set()
        self._refused: set[np.datetime64] = set()

    def times(self, now: tuple[np.datetime64, np.datetime64]) -> Moments:
        """The times of the newest frames, ascending. A frame later than the clock by more than a
        step is refused until its time has come, and that is said once.

        If no frame is earlier, the clock is taken to be wrong, and none is refused.

        Args:
            now: the earliest and the latest time that it can be.

        Raises:
            ConfigError, OSError: the folder is away.
        """
        root = self.source.archive.root
        latest = now[1] + self.source.archive.step
        found: list[Moments] = []
        future: list[np.datetime64] = []
        strays: dict[Path, str] = {}
        for folder in reversed(day_folders(root)):
            day = list_day(folder)
            strays |= {stray.path: stray.reason for stray in day.strays if stray.contradicts}
            early = np.array(
                [self._is_early(moment, now[0], latest) for moment in day.moments], bool
            )
            future += list(day.moments[early])
            if not early.all():
                found.insert(0, day.moments[~early])
            if len(found) == self._days:
                break
        for path in strays.keys() - self._strays:
            self._say(f"{path}: passed over, {strays[path]}")
        self._strays = set(strays)
        self._say_future(sorted(set(future) - self._refused), now[1], bool(found))
        self._refused = set(future)
        if not found:
            return np.array(sorted(future), dtype="datetime64[m]")
        return np.concatenate(found)

    def _is_early(self, moment: np.datetime64, now: np.datetime64, latest: np.datetime64) -> bool:
        """Whether a frame is of the future; one that has been refused waits for its time."""
        return bool(moment > (now if moment in self._refused else latest))

    def _say_future(self, fresh: list[np.datetime64], now: np.datetime64, refused: bool) -> None:
        if not fresh:
            return
        several = f" (and {len(fresh) - 1} more, to {fresh[-1]})" if len(fresh) > 1 else ""
        later = f"{fresh[0]}{several}: later than the clock, {now}, by more than a step"
        if refused:
            self._say(f"{later}: refused until then; check the time of the frame, or the clock")
        else:
            self._say(f"{later}, as are all frames: the clock is taken to be wrong; set it")

    def state(self, moment: np.datetime64) -> list[tuple[int, int]]:
        """Size and time of change of a frame and of its mask.

        Raises:
            OSError: one of them is not there.
        """
        root = self.source.archive.root
        paths = [frame_path(root, moment)]
        if self.source.own:
            paths.append(mask_path(root, moment))
        found = [path.stat() for path in paths]
        return [(file.st_size, file.st_mtime_ns) for file in found]


def opened_when_there(root: Path, every: float, wait: Wait, say: Say) -> Archive | None:
    """The tree at `root`, as soon as it has the frames that tell its step; None if told to stop.

    Raises:
        ConfigError: there is no such folder.
        DataError: as `Archive`.
    """
    if not root.is_dir():
        raise ConfigError(
            f"--watch: expected the folder of an archive to follow, found none at {root}; give the "
            "folder that holds radarPNG/"
        )
    check_there([root], watching=True)
    said = False
    while True:
        try:
            return Archive(root)
        except ConfigError as error:
            check_there([root], watching=True)
            if not said:
                say(f"{error}; waiting for frames")
                said = True
        if wait(every):
            return None
