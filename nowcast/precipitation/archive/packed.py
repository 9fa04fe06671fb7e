"""An archive packed into one HDF5 file, for training speed; read like the tree it was made from.

Layout, for any HDF5 reader that has the filters (LZ4 and Zstandard come with hdf5plugin):

- ``levels`` (frame, height, width) uint8: pixel = (dBZ + 10) / 70, times 255;
- ``times`` (frame,) int64: minutes since 1970, UTC, ascending;
- ``masks`` (mask, bytes) uint8: distinct masks, bit-packed by rows, 1 = use;
- ``mask_of`` (frame,) int32: which of them a frame has, -1 where it is the exclude mask;
- ``usable`` (height, width) uint8: the exclude mask, 1 = use, where the archive has one;
- ``days/train``, ``valid``, ``test``: columns ``day`` (YYYYMMDD) and ``mm``;
- attributes of the file: ``description`` (the text of ``archive.json``), ``held`` (top, bottom,
  left, right of what was cut out of each frame) and where it came from.
"""

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import h5py
import hdf5plugin  # registers the filters
import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import SPLITS, Split
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.archive.in_order import ArchiveInOrder
from nowcast.precipitation.archive.reader import ArchiveReader, Window
from nowcast.precipitation.archive.tree import Archive

FORMAT = "nowcast pack 1"
SUFFIXES = (".h5", ".hdf5")
CODECS: dict[str, dict[str, Any]] = {
    "lz4": dict(hdf5plugin.LZ4()),
    "zstd": dict(hdf5plugin.Zstd(clevel=3)),
    "none": {},
}

Result = TypeVar("Result")


def open_archive(root: Path, lists: Path | None = None) -> ArchiveReader:
    """The archive at a place: a pack where it is a file, a tree where it is a folder.

    Raises:
        ConfigError: there is none, or lists are given for a pack, which carries its own.
        DataError: as `Pack` and `Archive`.
    """
    if root.is_file() or (root.suffix in SUFFIXES and not root.exists()):
        if lists is not None:
            raise ConfigError(
                f"data.lists: expected none, since the pack {root} carries the lists it was made "
                "with; leave it out, or pack the archive again with these lists"
            )
        return Pack(root)
    return Archive(root, lists)


class Pack(ArchiveInOrder):
    """A packed archive, opened for reading; see `ArchiveReader`.

    Args:
        root: the HDF5 file.

    Raises:
        ConfigError: there is no such file.
        DataError: it is no pack, or not a whole one.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_file():
            raise ConfigError(
                f"{root}: expected a packed archive, found no file; make it with "
                f"`nowcast data pack ROOT {root}`"
            )
        self.root = root
        self._owner = 0
        self._file: h5py.File | None = None
        self._opened: dict[str, h5py.Dataset] = {}
        self._guarded(self._open)
        self.origin = f"packed from {self._root_of_tree}"

    def _open(self) -> None:
        with h5py.File(self.root) as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError(
                    f"{self.root}: expected a file of `nowcast data pack`, found another HDF5 file"
                )
            self.description = Description.from_json(file.attrs["description"])
            self._root_of_tree = str(file.attrs["root"])
            top, bottom, left, right = (int(edge) for edge in file.attrs["held"])
            self.held = (top, bottom, left, right)
            minutes = file["times"][...].astype(np.int64)
            self._mask_of = file["mask_of"][...].astype(np.int64) if "mask_of" in file else None
            shape = (len(minutes), *self.shape)
            masks = len(file["masks"]) if "masks" in file else 0
            bytes_of_mask = -(-self.shape[0] * self.shape[1] // 8)
            sound = (
                file["levels"].shape == shape
                and file["levels"].dtype == np.uint8
                and bool((np.diff(minutes) > 0).all())
                and (masks == 0 or file["masks"].shape == (masks, bytes_of_mask))
                and (self._mask_of is None or self._mask_of.shape == shape[:1])
                and (self._mask_of is None or self._mask_of.max(initial=-1) < masks)
                and ("usable" not in file or file["usable"].shape == self.shape)
            )
            if not sound:
                raise DataError(
                    f"{self.root}: expected frames, times and masks of one size in order of time, "
                    "found a pack that contradicts itself; pack the archive again"
                )
            self.moments = minutes.astype("datetime64[m]")

    @property
    def h5(self) -> h5py.File:
        """The open file; every process opens its own."""
        if self._file is None or self._owner != os.getpid():
            # No cache of chunks: clips come in random order from more frames than it could hold.
            self._file, self._owner = h5py.File(self.root, rdcc_nbytes=0), os.getpid()
            self._opened = {}
        return self._file

    def _dataset(self, name: str) -> h5py.Dataset:
        """An open dataset: opening one takes as long as reading a small clip."""
        file = self.h5
        if name not in self._opened:
            self._opened[name] = file[name]
        return self._opened[name]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_opened": {}}

    def _guarded(self, read: Callable[[], Result]) -> Result:
        """What `read` gives, its failures as DataErrors that name the file."""
        try:
            return read()
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise DataError(
                f"{self.root}: expected a whole pack, found it damaged ({error}); pack the archive "
                "again"
            ) from error

    @cached_property
    def days(self) -> dict[Split, dict[str, float]]:
        """The day lists it was packed with."""

        def read() -> dict[Split, dict[str, float]]:
            lists = {split: self.h5[f"days/{split}"][...] for split in SPLITS}
            return {
                split: {f"{day:08d}": float(depth) for day, depth in table}
                for split, table in lists.items()
            }

        return self._guarded(read)

    @cached_property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use; ConfigError where the archive had none."""
        if not self._guarded(lambda: "usable" in self.h5):
            raise ConfigError(
                f"{self.root}: expected the exclude mask, found that it was packed without one; "
                "set data.masks: frame to do without it"
            )
        return self._guarded(lambda: np.asarray(self.h5["usable"], dtype=bool))

    @property
    def has_masks(self) -> bool:
        """True if it was packed with the masks of frames."""
        return self._mask_of is not None

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """The mask of one moment, True = use; raises `FrameError`."""
        if not self.has_masks:
            raise FrameError(f"{self.root}: packed without the masks of frames")
        return super().mask(moment)

    def into(
        self,
        first: int,
        window: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> None:
        """Consecutive frames from `first` on; DataError where they cannot be read whole."""
        whole = levels if levels.flags.c_contiguous else np.empty(levels.shape, dtype=np.uint8)
        source = np.s_[first : first + len(levels), window[0], window[1]]
        self._guarded(lambda: self._dataset("levels").read_direct(whole, source))
        if whole is not levels:
            levels[:] = whole
        if mask is not None:
            self._masks_into(first, window, mask)

    def _masks_into(
        self, first: int, part: Window, out: Bool[np.ndarray, "time height width"]
    ) -> None:
        """Their masks."""
        assert self._mask_of is not None
        wanted, which = np.unique(self._mask_of[first : first + len(out)], return_inverse=True)
        for number, row in enumerate(wanted):
            mask = self.usable if row < 0 else self._unpacked(int(row))
            out[which == number] = mask[part]

    def _unpacked(self, row: int) -> Bool[np.ndarray, "height width"]:
        packed = self._guarded(lambda: self._dataset("masks")[row])
        height, width = self.shape
        bits = np.unpackbits(packed, count=height * width).reshape(height, width)
        return np.asarray(bits.view(bool))
