"""What a user points at: an archive, or some of its frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.frames import FRAME_FOLDER, FRAME_NAME, Moments, frame_path
from nowcast.precipitation.reader import ArchiveReader
from nowcast.precipitation.store import open_archive


def opened(places: Sequence[Path]) -> tuple[ArchiveReader, Moments]:
    """The archive of these places, and the moments of it that are meant, ascending.

    Args:
        places: an archive, or PNG frames that lie in one.

    Raises:
        ConfigError: neither, or the frames are of several archives.
        DataError: as `store.open_archive`.
    """
    if len(places) == 1 and not _is_frame(places[0]):
        archive = open_archive(places[0])
        return archive, archive.moments
    found = [_root_and_moment(place.expanduser().absolute()) for place in places]
    roots = sorted({root for root, _ in found})
    if len(roots) > 1:
        raise ConfigError(
            f"expected frames of one archive, found some of {roots[0]} and some of {roots[1]}; "
            "name those of one"
        )
    return open_archive(roots[0]), np.unique(np.array([moment for _, moment in found]))


def _is_frame(place: Path) -> bool:
    return place.suffix == ".png" and not place.is_dir()


def _root_and_moment(path: Path) -> tuple[Path, np.datetime64]:
    """Where a frame's archive lies, and the frame's moment, both from its path."""
    match = FRAME_NAME.fullmatch(path.name)
    if match is not None and len(path.parents) > 4 and path.parents[3].name == FRAME_FOLDER:
        year = path.parents[2].name
        _, month, day, hour, minute = match.groups()
        root = path.parents[4]
        try:
            moment = np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}", "m")
            if frame_path(root, moment) == path and path.is_file():
                return root, moment
        except ValueError:
            pass
    raise ConfigError(
        f"{path}: expected an archive by itself, or frames that lie in one as "
        f"{FRAME_FOLDER}/YYYY/MM/DD/RADyymmddHHMM00.png; found neither. Give the archive's folder, "
        "or make one with `nowcast data convert`"
    )
