"""What is packed of an archive, and how: what two calls must agree on to share parts."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from jaxtyping import Bool

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.packed import CODECS
from nowcast.precipitation.archive.tree import Archive

CHUNK_BYTES = 2**17  # of frames before compression: a clip is some chunks, a window few bytes more
PART_BYTES = 2**26  # of frames before compression: what a process holds in memory

Masks = Literal["frame", "exclude", "both"]


@dataclass(frozen=True)
class Plan:
    """What is packed, and how; what two calls must agree on to share parts."""

    root: Path
    shape: tuple[int, int]
    held: tuple[int, int, int, int]
    codec: str
    with_masks: bool
    usable: Bool[np.ndarray, "height width"] | None
    moments: Moments
    history: str
    part_bytes: int

    @property
    def frames_per_chunk(self) -> int:
        return max(1, CHUNK_BYTES // self.pixels)

    @property
    def _size(self) -> tuple[int, int]:
        top, bottom, left, right = self.held
        return bottom - top, right - left

    @property
    def frames_per_part(self) -> int:
        """A multiple of the frames in a chunk."""
        chunks = max(1, self.part_bytes // (self.pixels * self.frames_per_chunk))
        return chunks * self.frames_per_chunk

    @property
    def pixels(self) -> int:
        """Of a packed frame."""
        height, width = self._size
        return height * width

    def part(self, number: int) -> Moments:
        """The moments of a part."""
        return self.moments[number * self.frames_per_part :][: self.frames_per_part]

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-len(self.moments) // self.frames_per_part)

    def levels(self, file: h5py.File, count: int) -> h5py.Dataset:
        """The empty dataset of so many frames, chunks with checksums."""
        return file.create_dataset(
            "levels",
            shape=(count, *self._size),
            maxshape=(None, *self._size),  # a chunk may hold more frames than there are
            dtype=np.uint8,
            chunks=(self.frames_per_chunk, *self._size),
            fletcher32=True,
            **CODECS[self.codec],
        )

    def identity(self) -> str:
        """A digest of all of it."""
        digest = hashlib.sha256(self.moments.astype(np.int64).tobytes())
        if self.usable is not None:
            digest.update(np.packbits(self.usable).tobytes())
        digest.update(
            json.dumps(
                [
                    str(self.root),
                    self.shape,
                    self.held,
                    self.codec,
                    self.with_masks,
                    self.history,
                    self.part_bytes,
                ]
            ).encode()
        )
        return digest.hexdigest()


def make_plan(
    archive: Archive,
    crop: tuple[int, int, int, int] | None,
    masks: Masks,
    codec: str,
    skipped: Moments | None,
) -> Plan:
    """What is packed of an archive; the arguments are those of `pack.pack`.

    Raises:
        ConfigError: the crop leaves the frame, or the archive has no such masks or no days.
        DataError: a day list or the exclude mask is damaged.
    """
    height, width = archive.shape
    held = crop or (0, height, 0, width)
    if not (0 <= held[0] < held[1] <= height and 0 <= held[2] < held[3] <= width):
        raise ConfigError(
            f"--crop {list(held)}: expected rows and columns of frames of {height}x{width}, first "
            "before last"
        )
    if masks != "exclude" and not archive.has_masks:
        raise ConfigError(
            f"{archive.root}: expected masks of frames, found no {frames.MASK_FOLDER}/ folder; "
            "pack with --masks exclude, or estimate them with `nowcast data masks`"
        )
    moments = np.sort(np.concatenate([archive.moments_of(split) for split in SPLITS]))
    if skipped is not None:
        moments = moments[~np.isin(moments, skipped)]
    if not len(moments):
        raise ConfigError(
            f"{archive.lists}: expected days with frames in the three lists, found none; make the "
            f"lists with `nowcast data days {archive.root}`"
        )
    return Plan(
        archive.root.resolve(),
        archive.shape,
        held,
        codec,
        masks != "exclude",
        None if masks == "frame" else archive.usable[held[0] : held[1], held[2] : held[3]],
        moments,
        archive.description.to_json(),
        PART_BYTES,
    )
