"""What a user points at: an archive, or some of its frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import (
    FRAME_FOLDER,
    FRAME_NAME,
    Moments,
    frame_path,
    locate,
)
from nowcast.precipitation.archive.packed import SUFFIXES
from nowcast.precipitation.archive.raw_files import is_pack, next_move
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.sources.stack.zarr_archive import open_archive


def opened(places: Sequence[Path]) -> tuple[ArchiveReader, Moments]:
    """The archive of these places, and the times of it that are meant, ascending.

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


def check_there(places: Sequence[Path], watching: bool) -> None:
    """Refuse what is no archive, before anything slow is imported for it.

    Args:
        places: as `opened` takes them.
        watching: a folder that is empty, and may become an archive, will do.

    Raises:
        ConfigError: a place is not there, or holds files of another format; it says which command
            makes an archive of them.
    """
    for place in places:
        if _is_frame(place) or (place.is_dir() and _is_archive(place)):
            continue
        advice = next_move(place)
        if place.is_file() and advice is not None and not is_pack(place):
            raise ConfigError(f"{place}: expected an archive or frames of one, {advice}")
        if place.is_dir() and advice is not None:
            raise ConfigError(f"{place}: expected an archive with {FRAME_FOLDER}/, {advice}")
        if place.is_dir() and not watching:
            raise ConfigError(
                f"{place}: expected an archive with {FRAME_FOLDER}/, found a folder without radar; "
                "fill it (`nowcast data convert` from radar files, `nowcast data sample DIR` for "
                "some), or wait for its first frames with --watch"
            )
        if not place.exists() and place.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"{place}: expected an archive (a folder with {FRAME_FOLDER}/, or a pack), found "
                "nothing there; is the path right? `nowcast data convert` makes one from radar "
                "files"
            )


def _is_archive(folder: Path) -> bool:
    return (locate(folder) / FRAME_FOLDER).is_dir()


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
