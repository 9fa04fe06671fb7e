"""What a user points at: an archive, some of its frames, or radar files as they come."""

from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.frames import (
    FRAME_FOLDER,
    FRAME_NAME,
    Moments,
    frame_path,
    locate,
)
from nowcast.precipitation.archive.packed import SUFFIXES, open_archive
from nowcast.precipitation.archive.raw_files import PACK, may_be_radar, next_move
from nowcast.precipitation.archive.reader import RadarFrames
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.feed.reader import Feed, Reading


def opened(
    places: Sequence[Path], reading: Reading | None = None, at: np.datetime64 | None = None
) -> tuple[RadarFrames, Moments]:
    """The frames at these places, and their times that are meant, ascending.

    Args:
        places: an archive, PNG frames that lie in one, or radar files, folders of them and globs.
        reading: how radar files are to be read, where they leave it open; no archive needs it.
        at: the newest time that is wanted, UTC.

    Raises:
        ConfigError: nothing is there, frames are of several archives, or radar files need an
            option.
        DataError: as `packed.open_archive`, or no file can be read.
    """
    given = reading is not None and reading != Reading()
    if not given and all(map(_is_frame, places)):
        found = [_root_and_moment(place.expanduser().absolute()) for place in places]
        roots = sorted({root for root, _ in found})
        if len(roots) > 1:
            raise ConfigError(
                f"expected frames of one archive, found some of {roots[0]} and some of {roots[1]}; "
                "name those of one"
            )
        return open_archive(roots[0]), np.unique(np.array([moment for _, moment in found]))
    held: RadarFrames
    if not given and len(places) == 1 and _is_archive(places[0]):
        held = open_archive(places[0])
    else:
        held = Feed(places, reading, at)
    return held, held.moments


def check_there(places: Sequence[Path], watching: bool) -> None:
    """Refuse what is neither an archive nor radar files, before anything slow is imported for it;
    for radar files the process that decodes them is started.

    Args:
        places: as `opened` takes them.
        watching: a folder that is empty, and may become an archive, will do.

    Raises:
        ConfigError: a place is not there, or holds nothing that could be radar.
    """
    for place in places:
        if _is_frame(place) or (place.is_dir() and _is_tree(place)):
            continue
        if has_magic(str(place)) and not place.exists():
            DECODER.start()
            continue
        if may_be_radar(place):
            DECODER.start()
            continue
        advice = next_move(place)
        if advice is not None:
            raise ConfigError(f"{place}: expected an archive or radar files, {advice}")
        if place.is_dir() and not watching:
            raise ConfigError(
                f"{place}: expected an archive or radar files, found a folder without radar; "
                "fill it (`nowcast data sample DIR` for some), or wait for its first frames with "
                "--watch"
            )
        if not place.exists() and place.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"{place}: expected radar files or an archive (a folder with {FRAME_FOLDER}/, or "
                "a pack), found nothing there; is the path right?"
            )


def _is_archive(place: Path) -> bool:
    """Whether it is an archive; a file is looked into by the decoding process."""
    if place.is_dir():
        return _is_tree(place)
    if not place.exists():
        return (
            not has_magic(str(place)) and place.suffix.lower() in SUFFIXES
        )  # whose error says what is expected
    try:
        return may_be_radar(place) and DECODER.recognised(place) == PACK
    except DataError:
        return False


def _is_tree(folder: Path) -> bool:
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
