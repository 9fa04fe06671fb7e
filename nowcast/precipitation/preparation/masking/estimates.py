"""Estimated masks of an archive: written where it has none, or held against those it has."""

import math
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import write_bytes, writing
from nowcast.precipitation.archive import frames, masks
from nowcast.precipitation.archive.frames import LISTS_FOLDER
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.pictures.render import side_by_side
from nowcast.precipitation.preparation.masking.declutter import Declutter
from nowcast.precipitation.preparation.masking.removal import (
    NOTHING,
    Agreement,
    Levels,
    Mask,
    Progress,
    Removed,
    agreement,
    remove_clutter,
)
from nowcast.precipitation.units import PIXEL_LEVELS

ODD_WET_SHARE = 0.02  # of the rain: KNMI, MeteoSwiss and MRMS frames lose less than 0.2 %
PICTURE_SIDE_PX = 256  # narrower frames are enlarged: a speckle is a pixel, and titles need room
PART = "masks.part"  # under the archive's root, until its masks are whole


def radar_place(text: str, shape: tuple[int, int]) -> tuple[float, float]:
    """The (row, column) that ``ROW,COLUMN`` says.

    Raises:
        ConfigError: not two numbers, or outside the frame.
    """
    try:
        row, column = (float(number) for number in text.split(","))
    except ValueError:
        row = column = math.nan
    if not (0 <= row <= shape[0] - 1 and 0 <= column <= shape[1] - 1):
        raise ConfigError(
            f"radar: expected ROW,COLUMN inside the {shape[0]}x{shape[1]} frame, such as "
            f"{shape[0] // 2},{shape[1] // 2}, found {text!r}"
        )
    return row, column


def absent(archive: Archive) -> tuple[bool, bool]:
    """Whether the archive lacks frame masks, and whether it lacks an exclude mask.

    Raises:
        ConfigError: it has both.
    """
    folder, file = archive.root / frames.MASK_FOLDER, masks.exclude_path(archive.lists)
    lacks = not (folder.is_dir() and any(folder.iterdir())), not file.exists()
    if not any(lacks):
        raise ConfigError(
            f"{archive.root}: expected an archive that lacks masks, found {folder} and {file}, "
            "which are not overwritten; compare them with an estimate (--check), or move them away"
        )
    return lacks


def places(
    archive: Archive, lacks_frames: bool, lacks_exclude: bool
) -> tuple[tuple[Path, bool], tuple[Path, bool]]:
    """Where frame masks and exclude mask lie, each with whether it was lacking."""
    return (
        (archive.root / frames.MASK_FOLDER, lacks_frames),
        (masks.exclude_path(archive.lists), lacks_exclude),
    )


def write_masks(
    archive: Archive,
    usable: Mask,
    radar: tuple[float, float] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Removed:
    """Write the masks that an archive lacks; those it has stay.

    They are written in ``ROOT/masks.part`` and moved to their places when whole. What an error or
    Ctrl-C interrupts is removed again.

    Args:
        archive: any.
        usable: the exclude mask, the archive's own or an estimate. Frame masks exclude it too.
        radar: (row, column) of the radar; the middle of the frame if None.
        workers: threads; one a processor if None.
        progress: called with (frames done, frames in all).

    Returns:
        What was removed from the frames; nothing if the archive has frame masks.

    Raises:
        ConfigError: it lacks no mask, or a killed process left ``masks.part``.
        DataError: a frame is damaged.
    """
    lacks_frames, lacks_exclude = absent(archive)
    part, removed = archive.root / PART, Removed()
    try:
        part.mkdir()
    except FileExistsError as error:
        raise ConfigError(
            f"{part}: expected nothing there, found what another process writes or a killed one "
            "left; if none is at work, remove it and start again"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{archive.root}: expected a folder to write masks to: {error.strerror}; copy the "
            "archive where you may write"
        ) from error
    try:
        if lacks_frames:
            visit = partial(_write, part)
            removed = remove_clutter(archive, usable, radar, visit, workers, progress)
            with writing(archive.root / frames.MASK_FOLDER):
                (part / frames.MASK_FOLDER).replace(archive.root / frames.MASK_FOLDER)
        if lacks_exclude:
            masks.write_exclude(part / LISTS_FOLDER, usable)
            with writing(archive.lists):
                archive.lists.mkdir(parents=True, exist_ok=True)
                masks.exclude_path(part / LISTS_FOLDER).replace(masks.exclude_path(archive.lists))
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return removed


def check_masks(
    archive: Archive,
    usable: Mask,
    radar: tuple[float, float] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[list[str]], Removed]:
    """Compare estimates with the masks that are there; nothing is written.

    Args:
        archive: any that has masks.
        usable: the estimated exclude mask.
        radar: as for `write_masks`.
        workers: as for `write_masks`.
        progress: as for `write_masks`.

    Returns:
        Rows for a table (which mask, precision, recall, pixels estimated and there), and what
        would be removed. The exclude masks are compared over all pixels; the frame masks over
        pixels that have an echo and that the exclude mask there, if any, leaves.

    Raises:
        ConfigError: there are no frame masks.
        DataError: a frame or a mask is damaged.
    """
    if not (archive.root / frames.MASK_FOLDER).is_dir():
        raise ConfigError(
            f"{archive.root}: expected {frames.MASK_FOLDER}/ to compare estimates with, found "
            "none; leave --check out to write them"
        )
    given = archive.usable if masks.exclude_path(archive.lists).exists() else None
    whole = np.ones(archive.shape, dtype=bool)
    visit = partial(_compare, archive, whole if given is None else given)
    removed = remove_clutter(archive, usable, radar, visit, workers, progress)
    rows = [_row("frame masks, echoes", removed.agreement)]
    if given is not None:
        rows.insert(0, _row("exclude mask", agreement(usable, given, whole)))
    return rows, removed


def _row(name: str, found: Agreement) -> list[str]:
    shares = (found.precision, found.recall)
    shown = ("undefined" if share is None else f"{share:.3f}" for share in shares)
    return [name, *shown, str(found.estimated), str(found.given)]


def picture(
    archive: Archive,
    moment: np.datetime64,
    usable: Mask,
    radar: tuple[float, float] | None,
    to: Path,
) -> None:
    """Write a PNG of a frame before and after, what is not used in grey.

    Frames narrower than `PICTURE_SIDE_PX` are enlarged by a whole number.

    Raises:
        DataError: the frame is damaged.
    """
    levels = archive.frame(moment)
    mask = usable & ~np.any(list(Declutter(usable, radar).find(levels).values()), axis=0)
    enlarged = np.ones((math.ceil(PICTURE_SIDE_PX / levels.shape[1]),) * 2, dtype=np.uint8)
    pixels, mask = np.kron(levels, enlarged) / PIXEL_LEVELS, np.kron(mask, enlarged) > 0
    title = str(moment).replace("T", " ")
    tiles = [(f"{title} before", pixels, np.ones_like(mask)), ("after", pixels, mask)]
    image = cv2.cvtColor(side_by_side(tiles, archive.calibration), cv2.COLOR_RGB2BGR)
    write_bytes(to, cv2.imencode(".png", image)[1].tobytes())


def _write(root: Path, moment: np.datetime64, levels: Levels, mask: Mask) -> Agreement:
    frames.write_mask(root, moment, mask)
    return NOTHING


def _compare(
    archive: Archive, among: Mask, moment: np.datetime64, levels: Levels, mask: Mask
) -> Agreement:
    return agreement(mask, archive.mask(moment), among & (levels > 0))
