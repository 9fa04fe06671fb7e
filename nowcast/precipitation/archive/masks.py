"""Which pixels never hold rain: the exclude mask of an archive (``mask_dat.npz``)."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_bytes

VALID_SHARE = 0.95  # of the frames: a pixel with data in fewer is excluded
EXCLUDE_KEY = "exclude_mask"  # in the file 1 = never use, as HKO-7 has it


def exclude_path(lists: Path) -> Path:
    """Where the exclude mask lies, under HKO-7's own name."""
    return lists / "mask_dat.npz"


def read_exclude(lists: Path, shape: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The exclude mask, turned to True = use.

    Raises:
        ConfigError: the file is absent.
        DataError: not an npz, without the key, a pickle inside, of another size, or not 0 and 1.
    """
    path = exclude_path(lists)
    if not path.exists():
        raise ConfigError(
            f"{path}: expected the exclude mask, found none; set data.masks: frame to do without it"
        )
    if not path.is_file():  # opening a named pipe would wait for ever
        raise DataError(f"{path}: expected an npz of plain arrays: it is no regular file")
    try:
        excluded = _read_array(path, shape)
    except DataError:
        raise
    except Exception as error:  # what zipfile, its decoders and numpy raise has no common class
        raise DataError(
            f"{path}: expected an npz of plain arrays: {error or type(error).__name__}"
        ) from error
    if not np.isin(excluded, (0, 1)).all():
        raise DataError(f"{path}: expected 0 and 1 in {EXCLUDE_KEY}, found other values")
    return np.asarray(excluded == 0)


def _read_array(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    """The array at `EXCLUDE_KEY`, read no further than its header and `shape` allow.

    np.load makes room for whatever shape the header claims, and inflates what it is given.
    """
    with zipfile.ZipFile(path) as npz:
        name = f"{EXCLUDE_KEY}.npy"
        if name not in npz.namelist():
            raise DataError(f"{path}: expected the key {EXCLUDE_KEY}, found none")
        with npz.open(name) as member:
            version = np.lib.format.read_magic(member)
            if version != (1, 0):  # later ones are for headers of up to 4 GB
                raise ValueError(f"{EXCLUDE_KEY} has npy version {version}, not 1.0")
            found, by_column, dtype = np.lib.format.read_array_header_1_0(member)
            if dtype.kind not in "biuf":  # objects are pickles
                raise ValueError(f"{EXCLUDE_KEY} holds {dtype.name}, not numbers")
            if found != shape:
                raise DataError(
                    f"{path}: expected an exclude mask of {shape[0]}x{shape[1]} as the frames "
                    f"have, found {'x'.join(map(str, found))}"
                )
            size = shape[0] * shape[1] * dtype.itemsize
            data = member.read(size)
            if len(data) != size or member.read(1):  # its checksum is compared at the end
                raise ValueError(f"{EXCLUDE_KEY} has another length than its header says")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


class ValidCounts:
    """Counts the frames in which each pixel has data, for the exclude mask of an archive.

    A few partial frames must not exclude what nearly all frames see: a pixel is used if at least a
    share of the frames has data there. In the other frames their own masks leave it out, as
    ``data.masks: frame`` and ``both`` read them; with ``exclude`` alone it counts as dry there.

    Args:
        shape: (height, width) of a frame.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._counts = np.zeros(shape, dtype=np.int64)
        self._frames = 0

    def add(self, mask: Bool[np.ndarray, "height width"]) -> None:
        """One more frame, by its own mask (True = use)."""
        self._counts += mask
        self._frames += 1

    def usable(self, share: float = VALID_SHARE) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use: pixels with data in at least this share of the frames, and
        in one frame at least. 1 keeps what every frame sees."""
        least = max(1, math.ceil(round(share * self._frames, 6)))
        return np.asarray(self._counts >= least)


def write_exclude(lists: Path, usable: Bool[np.ndarray, "height width"]) -> None:
    """Write the exclude mask of an archive; `usable` is True where a pixel may be used."""
    content = io.BytesIO()
    np.savez_compressed(content, exclude_mask=(~usable).astype(np.uint8))
    write_bytes(exclude_path(lists), content.getbuffer())
