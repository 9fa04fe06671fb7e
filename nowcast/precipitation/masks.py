"""Which pixels never hold rain: the exclude mask of an archive (``mask_dat.npz``)."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from nowcast.core.errors import ConfigError, DataError

EXCLUDE_KEY = "exclude_mask"  # in the file 1 = never use, as HKO-7 has it

# What numpy raises for a file that is damaged, pickled, or no npz at all.
DAMAGED = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


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
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            excluded = file[EXCLUDE_KEY]
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: expected the exclude mask, found none; set data.masks: frame to do without it"
        ) from error
    except KeyError as error:
        raise DataError(f"{path}: expected the key {EXCLUDE_KEY}, found none") from error
    except DAMAGED as error:
        raise DataError(f"{path}: expected an npz of plain arrays: {error}") from error
    if excluded.shape != shape:
        raise DataError(
            f"{path}: expected an exclude mask of {shape[0]}x{shape[1]} as the frames have, found "
            f"{'x'.join(map(str, excluded.shape))}"
        )
    if not np.isin(excluded, (0, 1)).all():
        raise DataError(f"{path}: expected 0 and 1 in {EXCLUDE_KEY}, found other values")
    return np.asarray(excluded == 0)


def write_exclude(lists: Path, usable: Bool[np.ndarray, "height width"]) -> None:
    """Write the exclude mask of an archive; `usable` is True where a pixel may be used."""
    lists.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(exclude_path(lists), exclude_mask=(~usable).astype(np.uint8))
