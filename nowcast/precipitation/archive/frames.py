"""The frame and the mask of one time. What is missing is an error, never guessed.

Layout (HKO-7): ``radarPNG/YYYY/MM/DD/RADyymmddHHMM00.png`` holds an 8-bit grey image, row 0 north;
``radarPNG_mask/YYYY/MM/DD/RADyymmddHHMM00.mask`` holds zlib-compressed booleans, True = use.
"""

import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL.PngImagePlugin import PngImageFile

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import writing
from nowcast.precipitation.archive.raw_files import next_move

FRAME_FOLDER = "radarPNG"
MASK_FOLDER = "radarPNG_mask"
LISTS_FOLDER = "hko_data"
FRAME_NAME = re.compile(r"RAD(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})00\.png", re.ASCII)

LARGEST_PIXELS = 2**26  # of a frame; the largest national composites have 2.5e7

Moments = Shaped[np.ndarray, "_"]  # datetime64, UTC, unit minute, ascending


class FrameError(DataError):
    """A frame or mask file that is absent or does not hold one whole frame."""


class FrameSizeError(FrameError):
    """A frame of another size than the archive's."""


class NotGreyError(FrameError):
    """A PNG that is not 8-bit grey."""


def frame_path(root: Path, moment: np.datetime64) -> Path:
    """Path of a time's frame under an archive's root."""
    return root / FRAME_FOLDER / _relative(moment, "png")


def mask_path(root: Path, moment: np.datetime64) -> Path:
    """Path of a time's mask under an archive's root."""
    return root / MASK_FOLDER / _relative(moment, "mask")


def _relative(moment: np.datetime64, suffix: str) -> str:
    time: datetime = moment.astype("datetime64[m]").item()
    return time.strftime(f"%Y/%m/%d/RAD%y%m%d%H%M00.{suffix}")


@dataclass(frozen=True)
class Stray:
    """What lies in a day folder and is no frame of that day.

    Args:
        path: of the file, or of a folder whose day no calendar has.
        reason: why it is none.
        contradicts: it is named like a frame, of another time than its folder's.
    """

    path: Path
    reason: str
    contradicts: bool = False


@dataclass(frozen=True)
class DayFolder:
    """The frame files of one day, from their names alone.

    Args:
        path: the folder ``radarPNG/YYYY/MM/DD``.
        moments: one a frame file, ascending.
        strays: all else that lies there.
    """

    path: Path
    moments: Moments
    strays: tuple[Stray, ...]


def locate(root: Path) -> Path:
    """The folder that holds ``radarPNG/``, found from where a user points.

    HKO-7 is unpacked to ``hko_data/radarPNG`` (its repository's way) or ``radarPNG/radarPNG`` (its
    archive's), and people name the folder itself or the one above.
    """
    for candidate in (root / FRAME_FOLDER, root / LISTS_FOLDER, root, root.parent):
        if (candidate / FRAME_FOLDER).is_dir() and (candidate != root.parent or _has_years(root)):
            return candidate
    return root


def _has_years(folder: Path) -> bool:
    return folder.name == FRAME_FOLDER and any(folder.glob("[0-9][0-9][0-9][0-9]"))


def locate_lists(root: Path) -> Path:
    """The folder of day lists and exclude mask: ``ROOT/hko_data``, or ROOT if they lie there."""
    known = ("mask_dat.npz", "hko7_rainy_*_days.txt")
    inside = root / LISTS_FOLDER
    if not inside.is_dir() and any(any(root.glob(name)) for name in known):
        return root
    return inside


def day_folders(root: Path) -> list[Path]:
    """The day folders under an archive's root, ascending.

    Raises:
        ConfigError: there is no ``radarPNG`` folder.
    """
    folder = root / FRAME_FOLDER
    if not folder.is_dir():
        expected = f"{root}: expected an archive with a {FRAME_FOLDER}/ folder"
        if (advice := next_move(root)) is not None:
            raise ConfigError(f"{expected}, {advice}")
        raise ConfigError(
            f"{expected}, found none; give the folder that holds it (make one with `nowcast data "
            "convert` from radar files, `nowcast data sample` or `nowcast data synth`)"
        )
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]"))


def list_day(folder: Path) -> DayFolder:
    """What a day folder holds; nothing is opened."""
    year, month, day = folder.parts[-3:]
    try:
        midnight = np.datetime64(f"{year}-{month}-{day}", "m")
        if year < "1000":  # of which strftime makes another folder
            raise ValueError(year)
    except ValueError:
        stray = Stray(folder, "no calendar has this day", contradicts=True)
        return DayFolder(folder, np.array([], "datetime64[m]"), (stray,))
    minutes: list[int] = []
    strays: list[Stray] = []
    try:
        with os.scandir(folder) as opened:
            entries = list(opened)
    except OSError as error:  # a file, a link to nowhere, not ours to read
        stray = Stray(folder, f"cannot be listed: {error.strerror}", contradicts=True)
        return DayFolder(folder, np.array([], "datetime64[m]"), (stray,))
    for entry in entries:
        match = FRAME_NAME.fullmatch(entry.name)
        if match is None:
            strays.append(Stray(Path(entry.path), "not named RADyymmddHHMM00.png"))
            continue
        yy, mm, dd, hour, minute = match.groups()
        if (year[2:], month, day) != (yy, mm, dd) or hour > "23" or minute > "59":
            reason = f"the name says another time than its folder {year}/{month}/{day}"
            strays.append(Stray(Path(entry.path), reason, contradicts=True))
        else:
            minutes.append(60 * int(hour) + int(minute))
    return DayFolder(folder, midnight + np.sort(np.array(minutes, dtype=np.int64)), tuple(strays))


def list_moments(root: Path) -> Moments:
    """All times that have a frame file, ascending, from names alone.

    Raises:
        ConfigError: there is no ``radarPNG`` folder, or nothing in it.
        FrameError: a frame's name contradicts the day folder it lies in.
    """
    listed = [list_day(folder) for folder in day_folders(root)]
    for day in listed:
        for stray in day.strays:
            if stray.contradicts:
                raise FrameError(f"{stray.path}: {stray.reason}; move, rename or remove it")
    if not any(len(day.moments) for day in listed):
        raise ConfigError(
            f"{root / FRAME_FOLDER}: expected frames named YYYY/MM/DD/RADyymmddHHMM00.png, found "
            "none"
        )
    return np.concatenate([day.moments for day in listed])


def frame_shape(path: Path) -> tuple[int, int]:
    """(height, width) of a frame, from its PNG header alone.

    Raises:
        FrameError: absent, no PNG, its header is damaged or claims a size no radar frame has.
    """
    with _opened(path) as file, _png(path, file) as image:
        height, width = image.height, image.width
    if height * width > LARGEST_PIXELS:
        raise FrameError(
            f"{path}: expected at most {LARGEST_PIXELS} pixels, found a PNG that claims "
            f"{height}x{width}; {_MEND}"
        )
    return height, width


def read_frame(path: Path, shape: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """The 8-bit levels of one frame.

    Every chunk of the PNG is checked against its own checksum first: decoders fill up a truncated
    file with garbage.

    Args:
        path: the PNG file.
        shape: (height, width) that every frame of the archive has.

    Raises:
        FrameError: absent, empty, truncated or damaged; not 8-bit grey; of another size.
    """
    import cv2

    # Uncompressed 16-bit colour, or a chunk every pixel, is smaller.
    data = _read(path, 16 * shape[0] * shape[1] + 2**20)
    with _png(path, io.BytesIO(data)) as image:
        if (image.height, image.width) != shape:  # before there is room made for its pixels
            raise FrameSizeError(
                f"{path}: expected {shape[0]}x{shape[1]} pixels as in the rest of the archive, "
                f"found {image.height}x{image.width}; {_MEND}"
            )
        if (raw := image.tile[0].args) != "L":
            raise NotGreyError(
                f"{path}: expected one 8-bit grey channel, found Pillow's mode {raw}; {_MEND}"
            )
        image.verify()
    # OpenCV decodes: where rows are missing though every checksum holds, Pillow makes them 0.
    levels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise FrameError(f"{path}: expected a whole PNG, found one without all rows; {_MEND}")
    return np.asarray(levels, dtype=np.uint8)


_MEND = "fetch it again, or remove it and allow data.max_missing"


@contextmanager
def _png(path: Path, file: io.BufferedReader | io.BytesIO) -> Iterator[PngImageFile]:
    """A PNG; whatever Pillow cannot read of it is an error that names it."""
    try:
        with PngImageFile(file) as image:
            yield image
    except FrameError:
        raise
    except Exception as error:  # what Pillow raises has no common class
        raise FrameError(
            f"{path}: expected a whole PNG, found it truncated or damaged ({error}); {_MEND}"
        ) from error


def read_mask(path: Path, shape: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of one moment, True = use.

    Raises:
        FrameError: absent, not zlib, of another length, or holding other values than 0 and 1.
    """
    expected = shape[0] * shape[1]
    packed = _read(path, 2 * expected + 2**20)  # more than zlib ever makes of it
    inflater = zlib.decompressobj()
    try:
        # One byte more than expected is enough to know: a file that inflates without end is not
        # followed.
        data = inflater.decompress(packed, min(expected, LARGEST_PIXELS) + 1)
    except zlib.error as error:
        raise FrameError(
            f"{path}: expected zlib-compressed booleans, found {error}; {_MEND}"
        ) from error
    if len(data) != expected or not inflater.eof:
        found = f"more than {expected}" if len(data) > expected else str(len(data))
        raise FrameError(
            f"{path}: expected {expected} booleans ({shape[0]}x{shape[1]}), found {found}"
            f"{'' if inflater.eof else ' and no end of the stream'}; {_MEND}"
        )
    values = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    if values.max(initial=0) > 1:
        raise FrameError(f"{path}: expected booleans 0 and 1, found {values.max()}; {_MEND}")
    return values.astype(bool)


def _read(path: Path, largest: int) -> bytes:
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise FrameError(f"{path}: expected at most {largest} bytes, found {size}; {_MEND}")
        return file.read()


def _opened(path: Path) -> io.BufferedReader:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
            raise FrameError(f"{path}: cannot be read: it is no regular file; {_MEND}")
        return path.open("rb")
    except FileNotFoundError as error:
        raise FrameError(f"{path}: expected a file, found none; {_MEND}") from error
    except OSError as error:
        raise FrameError(f"{path}: cannot be read: {error.strerror}; {_MEND}") from error


def write_frame(
    root: Path, moment: np.datetime64, levels: UInt8[np.ndarray, "height width"]
) -> None:
    """Write the 8-bit levels of one frame (PNG, row 0 north)."""
    import cv2

    path = frame_path(root, moment)
    done, data = cv2.imencode(".png", levels)
    if not done:
        raise FrameError(f"{path}: OpenCV could not encode the frame")
    _write(path, data.tobytes())


def write_mask(root: Path, moment: np.datetime64, mask: Bool[np.ndarray, "height width"]) -> None:
    """Write the mask of one time (True = use)."""
    _write(mask_path(root, moment), zlib.compress(mask.astype(np.uint8).tobytes()))


def _write(path: Path, content: bytes) -> None:
    # Not in one move: a writer's folder is beside its place until all of it is whole.
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
